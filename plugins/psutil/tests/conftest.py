"""What the probe's tests share: a clock that is moved by hand, and a machine that is made of files."""

from __future__ import annotations

from pathlib import Path

import pytest
from longshore.testing import FakeSystem


class HandClock:
    """Monotonic seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def system(tmp_path: Path) -> FakeSystem:
    """A machine of 16 GB, of which 6 GB are taken; its folder has a space in its name, as mounts may have."""
    return FakeSystem(tmp_path / "a machine")
