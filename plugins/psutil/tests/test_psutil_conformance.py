"""The probe keeps what every probe keeps, read from this machine and from one of files that has control groups."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from longshore.hookspecs import Probe
from longshore.testing import ProbeConformance
from longshore_psutil import PsutilProbe


class TestPsutilProbe(ProbeConformance):
    """Of this machine."""

    @pytest.fixture
    def make_probe(self) -> Callable[[], Probe]:
        return PsutilProbe
