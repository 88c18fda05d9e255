"""What the probe's tests share: a clock that is moved by hand, and a folder that looks like control groups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from longshore_psutil._cgroup import Cgroup


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
def cgroup_of(tmp_path: Path) -> Callable[[str, dict[str, str]], Cgroup]:
    """Return a maker: the text of /proc/self/cgroup and the files below the mount give the Cgroup that reads them."""

    def make(membership: str, files: dict[str, str]) -> Cgroup:
        (tmp_path / "membership").write_text(membership)
        mount = tmp_path / "mount"
        for name, text in files.items():
            (mount / name).parent.mkdir(parents=True, exist_ok=True)
            (mount / name).write_text(text)
        return Cgroup(tmp_path / "membership", mount)

    return make
