"""The probe on a real card, where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest
from longshore.records import ReadRequest
from longshore_nvml import NvmlProbe


@pytest.mark.requirement("req:G07")
def test_a_real_card_is_read() -> None:
    """Of a real card memory is known, use lies within 0 to 100 %, and the second reading says the same of its size."""
    if not Path("/dev/nvidiactl").exists():
        pytest.skip("no NVIDIA GPU on this machine")
    probe = NvmlProbe()
    first, second = probe.read(ReadRequest()).usage, probe.read(ReadRequest()).usage
    probe.close()
    memories = {key: usage.capacity for key, usage in first.items() if key.startswith("gpu_memory.")}
    assert memories
    assert memories == {key: usage.capacity for key, usage in second.items() if key.startswith("gpu_memory.")}
    for key, usage in first.items():
        assert usage.own is None
        assert 0.0 <= usage.used <= (usage.capacity or 1e6), key
