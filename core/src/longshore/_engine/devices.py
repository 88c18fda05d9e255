"""Which GPU goes to which task: what tasks reserve and what is measured come in, indices of devices go out.

A task that reserves whole GPUs has them to itself; one that reserves a part of one, or of its memory, shares it with
others, whose parts make up one device at most. A part without a figure for memory takes the same part of the memory
that is not used by others, so that one that took more than its part keeps others away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from longshore._engine.device_memory import DeviceMemory
from longshore._engine.wording import amount as worded
from longshore._engine.wording import lack
from longshore.records import Device

_ROUNDING = 1e-9
_ROUNDING_MB = 1e-3


class _Wanted(NamedTuple):
    """How many devices, how much of each, and how much of the memory of each; None for no figure."""

    number: int
    share: float
    memory_mb: float | None

    @classmethod
    def of(cls, amounts: Mapping[str, float]) -> _Wanted | None:
        """Return what is wanted by a task that reserves `amounts`, None if it asks for no GPU."""
        gpu, memory_mb = amounts.get("gpu", 0.0), amounts.get("gpu_memory", 0.0)
        if not gpu and not memory_mb:
            return None
        number = max(1, round(gpu))
        return cls(number, 1.0 if gpu >= 1.0 else gpu, memory_mb / number if memory_mb else None)


class _Device:
    """One GPU: how much of it is lent, and its memory."""

    __slots__ = ("index", "is_there", "memory", "share", "tasks", "turn")

    def __init__(self, index: int) -> None:
        self.index = index
        self.is_there = True
        self.tasks = 0
        self.share = 0.0
        self.turn = 0  # when it was lent last, counted in loans
        self.memory = DeviceMemory()

    def needs_mb(self, wanted: _Wanted) -> float:
        """Return how much of its memory is to be lent for this."""
        if wanted.memory_mb is not None:
            return wanted.memory_mb
        return 0.0 if wanted.share == 1.0 else wanted.share * self.memory.usable_mb

    def has_part(self, wanted: _Wanted) -> bool:
        """Tell whether so much of it is not lent, whatever is measured; a whole one is nobody else's."""
        if wanted.share == 1.0:
            return not self.tasks
        return self.share < 1.0 and self.share + wanted.share <= 1.0 + _ROUNDING

    def fits(self, wanted: _Wanted) -> bool:
        """Tell whether so much of it, and of its memory, can be lent now."""
        return self.has_part(wanted) and self.needs_mb(wanted) <= self.memory.free_mb + _ROUNDING_MB

    def standing(self, wanted: _Wanted) -> tuple[bool, float, int, float, int]:
        """Return its place in the order in which devices are given away."""
        return not self.fits(wanted), self.share, -self.turn, -self.memory.free_mb, self.index

    def lend(self, wanted: _Wanted, turn: int) -> _Loan:
        """Lend so much of it."""
        self.turn = turn
        needs_mb = self.needs_mb(wanted)
        may_mb = needs_mb if wanted.memory_mb is not None or wanted.share < 1.0 else self.memory.usable_mb
        self.tasks += 1
        self.share += wanted.share
        self.memory.lend(needs_mb, may_mb, first=self.tasks == 1)
        return _Loan(self, wanted.share, needs_mb, may_mb)


class _Loan(NamedTuple):
    """What one task has of one device."""

    device: _Device
    share: float
    memory_mb: float
    may_mb: float

    def end(self) -> None:
        """Take it back."""
        device = self.device
        device.tasks -= 1
        device.share = device.share - self.share if device.tasks else 0.0  # so that no rounding is left over
        device.memory.take_back(self.memory_mb, self.may_mb, last=not device.tasks)


class Devices:
    """The GPUs of one pool. Asking, lending and taking back look at each device once."""

    __slots__ = ("_devices", "_loans", "_turn")

    def __init__(self, count: int = 0) -> None:
        """Begin with `count` devices that are declared, numbered from 0; what is measured takes their place."""
        self._devices = {index: _Device(index) for index in range(count)}
        self._turn = 0
        self._loans: dict[str, list[_Loan]] = {}

    def measure(self, measured: Mapping[int, Device]) -> None:
        """Count with these devices from now on; with none, those that were there stay, without what is measured."""
        for index in measured.keys() - self._devices.keys():
            self._devices[index] = _Device(index)
        for index, device in self._devices.items():
            device.is_there = index in measured if measured else device.is_there
            device.memory.see(measured.get(index), lent=device.tasks > 0)

    def lacks(self, amounts: Mapping[str, float]) -> str | None:
        """Return in words what no device has now, None where there are enough, or no device is known at all."""
        wanted = _Wanted.of(amounts)
        if wanted is None:
            return None
        there = [*self._there()]
        if not there:
            return None
        parted = [device for device in there if device.has_part(wanted)]
        if len(parted) < wanted.number:
            part = "whole" if wanted.share == 1.0 else f"to {wanted.share:g}"
            return f"gpu: needs {worded('gpu', wanted.number)}, {len(parted)} of {len(there)} free {part}"
        if sum(device.fits(wanted) for device in parted) >= wanted.number:
            return None
        most = max(parted, key=lambda device: device.memory.free_mb)
        needs_mb, free_mb = most.needs_mb(wanted), max(0.0, most.memory.free_mb)
        return lack("gpu_memory", needs_mb, free_mb, f"on device {most.index}, which has most")

    def shortage(self, amounts: Mapping[str, float]) -> tuple[str, float, float] | None:
        """Return what no device ever has enough of, how much is wanted of one, and how much the largest has."""
        wanted = _Wanted.of(amounts)
        if wanted is None or wanted.memory_mb is None:
            return None
        sizes = sorted((one.memory.total_mb for one in self._there()), reverse=True)
        if len(sizes) < wanted.number or sizes[wanted.number - 1] >= wanted.memory_mb:
            return None
        return "gpu_memory", wanted.memory_mb, sizes[wanted.number - 1]

    def lend(self, task_id: str, amounts: Mapping[str, float]) -> tuple[int, ...]:
        """Give a task devices, the least lent ones where it fits; return their indices in order.

        Of several the one that was lent last goes first, where a worker may have loaded what is wanted again, else the
        one with the most free memory. Where fewer fit than it wants, those that at least are not lent that far are
        given. None without devices.
        """
        wanted = _Wanted.of(amounts)
        if wanted is None:
            return ()
        parted = [device for device in self._there() if device.has_part(wanted)]
        if len(parted) < wanted.number:
            return ()
        parted.sort(key=lambda device: device.standing(wanted))
        self._turn += 1
        chosen = sorted(parted[: wanted.number], key=lambda device: device.index)
        self._loans[task_id] = [device.lend(wanted, self._turn) for device in chosen]
        return tuple(device.index for device in chosen)

    def take_back(self, task_id: str) -> None:
        """Take back what a task was given; one that has nothing is ignored."""
        for loan in self._loans.pop(task_id, ()):
            loan.end()

    def _there(self) -> Iterator[_Device]:
        return (device for device in self._devices.values() if device.is_there)
