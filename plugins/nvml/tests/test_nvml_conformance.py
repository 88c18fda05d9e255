"""The probe keeps what every probe keeps, with two GPUs that a fake library says there are."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import pynvml
import pytest
from longshore.hookspecs import Probe
from longshore.testing import ProbeConformance
from longshore_nvml import NvmlProbe

MACHINE = """count 2
0.utilisation 35
0.memory_used 4000000000
0.memory_total 16000000000
0.temperature 61
0.power 120500
0.power_limit 250000
1.utilisation 0
1.memory_used 0
1.memory_total 16000000000
"""


class TestNvmlProbe(ProbeConformance):
    """By the real nvidia-ml-py, in this process."""

    @pytest.fixture
    def make_probe(
        self, library_of: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[[], Probe]:
        (tmp_path / "machine").write_text(MACHINE, "ascii")
        monkeypatch.setenv("FAKE_NVML", str(tmp_path / "machine"))
        # As it would be after `nvmlInit` found a library of this name; the functions that it keeps are that library's.
        monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(library_of())))
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        return lambda: NvmlProbe(environ={})
