"""Without a library, a driver or a device the probe reads what there is, tells once, and recovers by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CARD = {"utilisation": 35, "memory_used": 4_000_000_000, "memory_total": 16_000_000_000}


@pytest.mark.requirement("req:G07")
def test_a_machine_without_the_library_has_no_gpus(reader_of: Callable[[Path], Any], tmp_path: Path) -> None:
    """Nothing is read, nothing is raised, and it is told once (fault:M13)."""
    empty = tmp_path / "none" / "libnvidia-ml.so.1"
    empty.parent.mkdir()
    empty.write_bytes(b"no library")  # stands before the one of a machine that has one
    reader = reader_of(empty)
    assert reader.read() == {}
    assert reader.said == ["GPUs: NVML Shared Library Not Found"]
    assert reader.read() == {}
    assert reader.said == []


@pytest.mark.requirement("req:G07")
def test_a_driver_that_comes_back_is_read_again(machine: Any) -> None:
    """A library without a driver reads nothing; the first reading with it has everything (fault:M13)."""
    machine.has(CARD, init="!9")
    assert machine.read() == {}
    assert machine.said == ["GPUs: Driver Not Loaded"]
    assert machine.read() == {}
    assert machine.said == []
    machine.has(CARD)
    assert set(machine.read()) == {"gpu.0", "gpu_memory.0"}
    assert machine.said == ["GPUs: read again"]


def test_a_driver_of_another_version_says_what_to_do(machine: Any) -> None:
    """After an update of the driver only a new process can read it, and the log says so (fault:M13)."""
    machine.has(CARD, init="!18")
    assert machine.read() == {}
    [said] = machine.said
    assert "version mismatch" in said
    assert "start this process again" in said


@pytest.mark.parametrize("error", [1, 9, 15, 999])
def test_a_driver_that_goes_while_it_is_read_is_opened_anew(machine: Any, error: int) -> None:
    """Whatever the library says when its driver goes, it is given back, and the next reading begins anew."""
    machine.has(CARD)
    assert machine.read()
    machine.has(CARD, count=f"!{error}")
    assert machine.read() == {}
    assert len(machine.said) == 1
    machine.has(CARD)
    assert machine.read()
    assert machine.calls() == ["init", "shutdown", "init"]


@pytest.mark.parametrize(
    "lost",
    [{"handle": "!15"}, {"handle": "!4"}, {"utilisation": "!15"}, {"memory_total": "!16"}],
    ids=lambda value: str(value),
)
def test_a_lost_device_costs_the_others_nothing(machine: Any, lost: dict[str, str]) -> None:
    """A device that has fallen off the bus is left out and told of once; the others keep their numbers (fault:M13)."""
    machine.has({**CARD, **lost}, CARD)
    assert set(machine.read()) == {"gpu.1", "gpu_memory.1"}
    assert [said.split(":")[0] for said in machine.said] == ["GPU 0"]
    assert set(machine.read()) == {"gpu.1", "gpu_memory.1"}
    assert machine.said == []
    machine.has(CARD, CARD)
    assert "gpu.0" in machine.read()
    assert machine.said == ["GPU 0: read again"]
    assert machine.calls() == ["init"]


def test_where_all_devices_are_lost_the_library_begins_anew(machine: Any) -> None:
    """A device that was reset may be seen again only by a library that is opened anew."""
    machine.has({**CARD, "handle": "!15"})
    assert machine.read() == {}
    machine.has(CARD)
    assert machine.read()
    assert machine.calls() == ["init", "shutdown", "init"]


def test_a_driver_that_goes_in_the_middle_of_a_reading_leaves_no_half(machine: Any) -> None:
    """What was read of other devices is not kept where the driver went under it."""
    machine.has(CARD, {**CARD, "utilisation": "!1"})
    assert machine.read() == {}
    assert machine.said == ["GPUs: Uninitialized"]


def test_a_device_that_says_nothing_is_told_of(machine: Any) -> None:
    """One that has no figure at all is left out, with a reason."""
    machine.has({"name": "mute"})
    assert machine.read() == {}
    assert machine.said == ["GPU 0: it has no figures at all"]
