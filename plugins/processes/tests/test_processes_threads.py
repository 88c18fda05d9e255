"""Numeric libraries in workers share the cores: workers times their threads is not more than there are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest
from longshore import usable_cpus
from longshore_processes.executor import ProcessesSettings
from longshore_processes.spawner import numeric_threads
from pydantic import ValidationError

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have none of them set here but for one."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")


def found(names: Sequence[str]) -> list[str | None]:
    return [os.environ.get(name) for name in names]


@pytest.mark.parametrize("start_method", ["auto", "interpreter"])
def test_workers_share_the_cores(open_yard: Any, start_method: Any) -> None:
    """Each variable is the cores divided by the workers, at least 1; one that the user has set stays as it is."""
    with open_yard(1, ProcessesSettings(start_method=start_method)) as yard:
        [outcome] = yard.run(found, [VARIABLES])
    share = str(usable_cpus())
    assert outcome.value == [share, share, "7", share, share, share]


def test_a_number_in_the_settings_wins(open_yard: Any) -> None:
    """`blas_threads` in the plugin's table is what all of them are, whatever the environment says."""
    with open_yard(1, ProcessesSettings(blas_threads=3)) as yard:
        [outcome] = yard.run(found, [VARIABLES])
    assert outcome.value == ["3"] * len(VARIABLES)
    with pytest.raises(ValidationError):
        ProcessesSettings(blas_threads=0)


@pytest.mark.parametrize(("workers", "cores", "share"), [(1, 8, "8"), (3, 8, "2"), (8, 8, "1"), (20, 8, "1")])
def test_shares(workers: int, cores: int, share: str) -> None:
    """The share is rounded down, and never less than one."""
    assert numeric_threads(workers, cores, None)["OMP_NUM_THREADS"] == share
