"""Which GPU goes to which task: by what is declared, and by the free memory that is measured on each."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from longshore._engine.devices import Devices
from longshore.records import Device

WHOLE = {"gpu": 1.0}
HALF = {"gpu": 0.5}


def measured(*used_mb: float, total_mb: float = 16_000.0) -> dict[int, Device]:
    """Return devices of one size, with so much of each used."""
    return {index: Device(used, total_mb) for index, used in enumerate(used_mb)}


def with_memory(amounts: Mapping[str, float], memory_mb: float) -> dict[str, float]:
    return {**amounts, "gpu_memory": memory_mb}


def test_what_asks_for_no_gpu_gets_none() -> None:
    """A task that reserves something else is named no device, and lacks none."""
    devices = Devices(2)
    assert devices.lacks({"cpu": 1.0}) is None
    assert devices.lend("a", {"cpu": 1.0}) == ()


def test_without_devices_there_are_no_names() -> None:
    """Where nobody knows of a device nothing is refused here and nothing is named: the ledger alone decides."""
    devices = Devices()
    assert devices.lacks(WHOLE) is None
    assert devices.lend("a", WHOLE) == ()


def test_a_whole_device_is_shared_with_nobody() -> None:
    """Whole devices go to one task each; a part of one, or of its memory only, does not go where a whole one is."""
    devices = Devices(2)
    assert devices.lend("a", WHOLE) == (0,)
    assert devices.lend("b", HALF) == (1,)
    assert devices.lacks(WHOLE) == "gpu: needs 1 GPU, 0 of 2 free whole"
    assert devices.lend("c", {"gpu_memory": 100.0}) == (1,)
    assert devices.lend("d", HALF) == (1,)
    assert devices.lacks(HALF) == "gpu: needs 1 GPU, 0 of 2 free to 0.5"
    devices.take_back("a")
    assert devices.lend("e", WHOLE) == (0,)


def test_a_device_that_was_lent_is_lent_again() -> None:
    """Of devices that are as free the one a worker is at home on comes first, else that with most free memory."""
    devices = Devices()
    devices.measure(measured(300.0, 200.0, 900.0))
    assert devices.lend("a", WHOLE) == (1,)
    devices.measure(measured(300.0, 8_000.0, 900.0))
    devices.take_back("a")
    assert devices.lend("b", WHOLE) == (1,)
    assert devices.lend("c", WHOLE) == (0,)


def test_several_whole_devices_go_together() -> None:
    """A task that reserves two gets two, or waits."""
    devices = Devices(3)
    assert devices.lend("a", {"gpu": 2.0}) == (0, 1)
    assert devices.lacks({"gpu": 2.0}) == "gpu: needs 2 GPUs, 1 of 3 free whole"
    devices.take_back("a")
    assert devices.lend("b", {"gpu": 3.0}) == (0, 1, 2)


def test_parts_go_to_the_least_lent_device_and_make_up_one_at_most() -> None:
    """Parts are spread over devices, and those of one device sum to one; thirds make a whole in spite of rounding."""
    devices = Devices(2)
    third = {"gpu": 1 / 3}
    lent = [devices.lend(str(number), third) for number in range(6)]
    assert [sorted(lent[at : at + 2]) for at in (0, 2, 4)] == [[(0,), (1,)]] * 3
    assert devices.lacks(third) is not None
    for number in range(6):
        devices.take_back(str(number))
    assert devices.lend("whole", {"gpu": 2.0}) == (0, 1)


def test_declared_memory_goes_where_it_is_measured_free() -> None:
    """Of two devices the one with enough free memory is chosen, whatever is lent there."""
    devices = Devices()
    devices.measure(measured(9_000.0, 1_000.0))
    assert devices.lend("a", with_memory(HALF, 8_000.0)) == (1,)
    assert devices.lacks(with_memory(HALF, 8_000.0)) == (
        "gpu_memory: needs 8000 MB, 7000 MB free on device 0, which has most"
    )
    assert devices.lend("b", with_memory(HALF, 7_000.0)) == (0,)


def test_memory_that_is_lent_and_then_used_counts_once() -> None:
    """What a task takes of what it reserved is not taken off twice."""
    devices = Devices()
    devices.measure(measured(2_000.0))
    devices.lend("a", with_memory(HALF, 8_000.0))
    assert devices.lacks(with_memory(HALF, 6_000.0)) is None
    devices.measure(measured(9_000.0))
    assert devices.lacks(with_memory(HALF, 6_000.0)) is None
    assert devices.lacks(with_memory(HALF, 6_001.0)) is not None


def test_a_task_that_takes_more_than_it_reserved_keeps_others_away() -> None:
    """Sharing goes by measured memory, not by declarations only: also where none is declared."""
    for amounts in (with_memory({"gpu": 0.25}, 4_000.0), {"gpu": 0.25}):
        devices = Devices()
        devices.measure(measured(0.0))
        devices.lend("greedy", amounts)
        devices.measure(measured(13_000.0))
        assert devices.lacks({"gpu": 0.25}) is not None
        devices.measure(measured(4_000.0))
        assert devices.lacks({"gpu": 0.25}) is None


def test_two_halves_fit_on_a_device_whose_driver_takes_some() -> None:
    """A half without a figure is a half of what nobody else uses, so that two fit on any device."""
    devices = Devices()
    devices.measure(measured(600.0))
    assert devices.lend("a", HALF) == (0,)
    devices.measure(measured(8_300.0))
    assert devices.lacks(HALF) is None
    assert devices.lend("b", HALF) == (0,)


def test_memory_that_others_take_is_not_lent() -> None:
    """What rises while nothing is lent is somebody else's."""
    devices = Devices()
    devices.measure(measured(1_000.0))
    devices.measure(measured(12_000.0))
    assert devices.lacks(with_memory(HALF, 5_000.0)) is not None
    devices.measure(measured(2_000.0))
    assert devices.lacks(with_memory(HALF, 5_000.0)) is None


def test_memory_that_workers_keep_is_free_for_the_next_task() -> None:
    """A worker that keeps its memory for the next task takes none away from that; what rises then is others'."""
    devices = Devices()
    devices.measure(measured(500.0))
    devices.lend("a", with_memory(HALF, 10_000.0))
    devices.measure(measured(10_400.0))
    devices.take_back("a")
    assert devices.lacks(with_memory(HALF, 10_000.0)) is None  # before it is measured anew
    devices.measure(measured(10_400.0))
    assert devices.lacks(with_memory(HALF, 15_500.0)) is None
    devices.measure(measured(13_400.0))
    assert devices.lacks(with_memory(HALF, 12_500.0)) is None
    assert devices.lacks(with_memory(HALF, 12_501.0)) is not None


def test_what_others_took_meanwhile_is_kept_by_nobody() -> None:
    """Of what is left when a task has ended, no more is its own than it may have taken."""
    devices = Devices()
    devices.measure(measured(0.0))
    devices.lend("a", with_memory(HALF, 2_000.0))
    devices.measure(measured(12_000.0))
    devices.take_back("a")
    devices.measure(measured(12_000.0))
    assert devices.lacks(with_memory(HALF, 6_000.0)) is None
    assert devices.lacks(with_memory(HALF, 6_001.0)) is not None


def test_what_one_leaves_is_not_what_the_other_uses() -> None:
    """With one of two tasks ended, what the other may have taken counts as used still."""
    devices = Devices()
    devices.measure(measured(0.0))
    devices.lend("a", with_memory(HALF, 8_000.0))
    devices.lend("b", with_memory(HALF, 8_000.0))
    devices.measure(measured(16_000.0))
    devices.take_back("a")
    assert devices.lacks(with_memory(HALF, 8_000.0)) is None
    assert devices.lacks(with_memory(HALF, 8_001.0)) is not None


def test_memory_of_several_devices_is_parted() -> None:
    """A task that reserves two devices and memory wants half of that on each."""
    devices = Devices()
    devices.measure(measured(0.0, 9_000.0, 0.0))
    assert devices.lend("a", with_memory({"gpu": 2.0}, 20_000.0)) == (0, 2)


def test_more_than_any_device_has_is_a_shortage_for_ever() -> None:
    """Memory that no single device has can never be lent, however much all have together."""
    devices = Devices()
    devices.measure(measured(0.0, 0.0))
    assert devices.shortage(with_memory(HALF, 16_001.0)) == ("gpu_memory", 16_001.0, 16_000.0)
    assert devices.shortage(with_memory({"gpu": 2.0}, 32_000.0)) is None
    assert devices.shortage(with_memory(HALF, 15_000.0)) is None
    assert devices.shortage(HALF) is None


def test_a_task_that_nothing_fits_is_given_the_best_there_is() -> None:
    """Where it is started all the same, since nothing else runs, it gets what is free most, and a part nobody has."""
    devices = Devices()
    devices.measure(measured(15_000.0, 14_000.0))
    assert devices.lend("a", with_memory(HALF, 8_000.0)) == (1,)
    assert devices.lend("b", with_memory(WHOLE, 8_000.0)) == (0,)
    assert devices.lend("c", WHOLE) == ()


def test_a_lost_device_is_lent_to_nobody_and_remembered() -> None:
    """One that is not read any more is not lent; when it is back, what was lent there is lent there still."""
    devices = Devices()
    devices.measure(measured(0.0, 0.0))
    assert devices.lend("a", {"gpu": 2.0}) == (0, 1)
    devices.measure({0: Device(0.0, 16_000.0)})
    devices.measure(measured(0.0, 0.0))
    assert devices.lacks(WHOLE) is not None
    devices.take_back("a")
    devices.measure({1: Device(0.0, 16_000.0)})
    assert devices.lend("b", WHOLE) == (1,)
    assert devices.lacks(WHOLE) == "gpu: needs 1 GPU, 0 of 1 free whole"


def test_without_measures_what_is_declared_counts() -> None:
    """With a driver that is gone the devices stay, and are lent by declaration (fault:M13)."""
    devices = Devices()
    devices.measure(measured(15_000.0, 15_000.0))
    assert devices.lacks(with_memory(HALF, 8_000.0)) is not None
    devices.measure({})
    assert devices.lacks(with_memory(HALF, 8_000.0)) is None
    assert devices.lend("a", with_memory(HALF, 8_000.0)) == (0,)
    devices.measure(measured(15_000.0, 15_000.0))
    assert devices.lacks(with_memory({"gpu": 0.25}, 8_000.0)) is not None


@pytest.mark.parametrize("device", [Device(), Device(100.0)])
def test_a_device_without_figures_is_lent_by_declaration(device: Device) -> None:
    """Memory that a driver does not tell bounds nothing."""
    devices = Devices()
    devices.measure({3: device})
    assert devices.lend("a", with_memory(HALF, 99_000.0)) == (3,)


def test_the_size_of_a_device_bounds_what_is_declared() -> None:
    """Where only the size of a device is known, or was when it was measured last, declarations make up that at most."""
    known, gone = Devices(), Devices()
    known.measure({0: Device(None, 16_000.0)})
    gone.measure(measured(1_000.0))
    gone.measure({})
    for devices in (known, gone):
        devices.lend("a", with_memory(HALF, 9_000.0))
        assert devices.lacks(with_memory(HALF, 7_001.0)) is not None
        assert devices.lacks(with_memory(HALF, 7_000.0)) is None


def test_measured_devices_take_the_place_of_declared_ones() -> None:
    """What a probe reads counts, and the numbers are its own."""
    devices = Devices(1)
    devices.measure({2: Device(), 5: Device()})
    assert devices.lend("a", {"gpu": 2.0}) == (2, 5)


def test_what_was_never_lent_may_be_taken_back() -> None:
    """An id that has nothing is ignored."""
    Devices(1).take_back("nobody")
