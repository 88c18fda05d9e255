"""What the probe reads: the real nvidia-ml-py calls a library that says what the test wants."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from longshore_nvml import NvmlProbe
from longshore_nvml._visible import visible

CARD = {
    "utilisation": 35,
    "memory_used": 4_000_000_000,
    "memory_total": 16_000_000_000,
    "temperature": 61,
    "power": 120_500,
    "power_limit": 250_000,
}
UUIDS = ("GPU-aa11", "GPU-aa22", "GPU-bb33")


def test_it_reads_four_resources_once_a_second() -> None:
    """Use, memory, temperature and power."""
    probe = NvmlProbe()
    assert set(probe.resources) == {"gpu", "gpu_memory", "gpu_temperature", "gpu_power"}
    assert probe.period_s == 1.0


@pytest.mark.requirement("req:G07")
def test_a_device_is_read_in_documented_units(machine: Any) -> None:
    """Percent, MB of 10**6 bytes, degrees Celsius, watts; capacities where the device says them."""
    machine.has(CARD, {**CARD, "utilisation": 0, "power": 9_000})
    assert machine.read() == {
        "gpu.0": (35.0, 100.0, None),
        "gpu_memory.0": (4000.0, 16000.0, None),
        "gpu_temperature.0": (61.0, None, None),
        "gpu_power.0": (120.5, 250.0, None),
        "gpu.1": (0.0, 100.0, None),
        "gpu_memory.1": (4000.0, 16000.0, None),
        "gpu_temperature.1": (61.0, None, None),
        "gpu_power.1": (9.0, 250.0, None),
    }
    assert machine.said == []


def test_nothing_of_a_device_is_said_to_be_ours(machine: Any) -> None:
    """Processes on a device are never asked for, so a stranger's id is not taken for ours (fault:M13)."""
    machine.has(CARD)
    assert {own for _, _, own in machine.read().values()} == {None}
    assert "processes" not in machine.calls()


@pytest.mark.parametrize(
    ("said", "left_out"),
    [
        ({"utilisation": "!3"}, "gpu.0"),
        ({"utilisation": 0xFFFFFFFF}, "gpu.0"),
        ({"memory_total": "!3"}, "gpu_memory.0"),
        ({"memory_used": 2**64 - 1}, "gpu_memory.0"),
        ({"memory_total": 0}, "gpu_memory.0"),
        ({"temperature": "!3"}, "gpu_temperature.0"),
        ({"power": "!13"}, "gpu_power.0"),
        ({"power": 0xFFFFFFFF}, "gpu_power.0"),
    ],
    ids=lambda value: str(value),
)
def test_what_is_not_available_is_left_out(machine: Any, said: dict[str, Any], left_out: str) -> None:
    """N/A, in whatever way the library says it, leaves its key out, the others in, and the log silent (fault:M13)."""
    machine.has({**CARD, **said})
    assert set(machine.read()) == {"gpu.0", "gpu_memory.0", "gpu_temperature.0", "gpu_power.0"} - {left_out}
    assert machine.said == []


def test_a_device_that_is_cut_into_instances_is_read_as_far_as_it_goes(machine: Any) -> None:
    """In MIG mode a device says nothing of its use, and all of its memory."""
    machine.has({**CARD, "utilisation": "!3"}, CARD)
    usage = machine.read()
    assert "gpu.0" not in usage
    assert usage["gpu_memory.0"] == usage["gpu_memory.1"]


def test_no_power_limit_is_no_capacity(machine: Any) -> None:
    """What has no limit has no capacity, and is read."""
    machine.has({**CARD, "power_limit": "!3"})
    assert machine.read()["gpu_power.0"] == (120.5, None, None)


def test_what_is_refused_is_told_once(machine: Any) -> None:
    """A figure that could not be had for another reason than N/A is logged with it, once, until that is over."""
    machine.has({**CARD, "power": "!4"})
    assert "gpu_power.0" not in machine.read()
    assert machine.said == ["GPU 0: power: Insufficient Permissions"]
    machine.read()
    assert machine.said == []
    machine.has(CARD)
    assert "gpu_power.0" in machine.read()
    assert machine.said == ["GPU 0: read again"]


def test_an_error_of_a_later_driver_is_told_in_its_words(machine: Any) -> None:
    """A code that nvidia-ml-py does not know is looked up in the library."""
    machine.has({**CARD, "utilisation": "!77"})
    machine.read()
    assert machine.said == ["GPU 0: utilisation: an error of a later version"]


@pytest.mark.slow
def test_a_library_without_what_it_once_had_is_read(
    library_of: Callable[..., Path], reader_of: Callable[[Path], Any]
) -> None:
    """Temperature is read by the newer function where the older one is gone, as from CUDA 14 on."""
    reader = reader_of(library_of("-DONLY_NEW_TEMPERATURE"))
    reader.has(CARD)
    assert reader.read()["gpu_temperature.0"] == (61.0, None, None)


def test_the_library_is_opened_late_once_and_given_back(machine: Any) -> None:
    """Nothing is loaded before the first reading; closing gives it back once, and a reading after that opens it."""
    machine.has(CARD)
    assert machine.calls() == []
    machine.read()
    machine.read()
    assert machine.calls() == ["init"]
    machine.tell("close")
    machine.tell("close")
    assert machine.calls() == ["init", "shutdown"]
    machine.read()
    machine.tell("forget")
    assert machine.calls() == ["init", "shutdown"] * 2


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("2,0", [0, 2]),
        (" 1 ", [1]),
        ("0,7,1", [0]),
        ("1,-1,2", [1]),
        ("GPU-bb33,GPU-aa1", [0, 2]),
        ("GPU-aa", []),
        ("GPU-cc", []),
        ("MIG-aa11", []),
        ("0,0", [0]),
        ("²", []),
    ],
)
def test_only_the_devices_that_are_ours_count(said: str | None, left: list[int]) -> None:
    """CUDA_VISIBLE_DEVICES is read as CUDA reads it: indices, UUIDs, and nothing behind what names no device."""
    assert list(visible(said, 3, lambda index: UUIDS[index])) == left


def test_the_scheduler_s_choice_is_kept_to(machine: Any) -> None:
    """Devices that CUDA_VISIBLE_DEVICES leaves out are not read, and keep their numbers; none at all is told."""
    machine.has(*({**CARD, "uuid": uuid} for uuid in UUIDS))
    machine.new(CUDA_VISIBLE_DEVICES="GPU-bb33,1")
    assert {key for key in machine.read() if key.startswith("gpu.")} == {"gpu.1", "gpu.2"}
    machine.new(CUDA_VISIBLE_DEVICES="MIG-1234")
    assert machine.read() == {}
    assert machine.said == ["CUDA_VISIBLE_DEVICES: 'MIG-1234' leaves none of the 3 GPUs that are here"]
