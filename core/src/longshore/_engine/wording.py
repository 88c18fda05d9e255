"""In plain words what there is too little of: amounts with their units, and one wording wherever it is told.

Used for what is said of a task that waits, of a pool that is held back, and by warnings and refusals.
"""

from __future__ import annotations

from collections.abc import Mapping

_UNITS = {"memory": "MB", "gpu_memory": "MB", "disk_io": "MB/s", "network_io": "MB/s"}
_COUNTED = {"cpu": "core", "gpu": "GPU"}
_WHOLE_FROM = 100.0
"""From here on no decimals: nobody decides by a tenth of a percent."""


def amount(resource: str, value: float) -> str:
    """Return an amount of a resource as tasks reserve it, with its unit; what users have named has none."""
    number = f"{value:.0f}" if abs(value) >= _WHOLE_FROM else f"{value:.3g}"
    if resource in _COUNTED:
        return f"{number} {_COUNTED[resource]}{'' if value == 1 else 's'}"
    return f"{number} {_UNITS[resource]}" if resource in _UNITS else number


def seconds(value: float) -> str:
    """Return a time with its unit, without powers of ten."""
    return f"{value:.0f} s" if value >= _WHOLE_FROM else f"{value:.3g} s"


def lack(resource: str, needed: float, free: float, after: str) -> str:
    """Return what is needed and what is free; `after` says of what, or less what that is."""
    return f"{resource}: needs {amount(resource, needed)}, {amount(resource, max(0.0, free))} free {after}"


def needs(amounts: Mapping[str, float]) -> str:
    """Return what is needed."""
    return " and ".join(f"{name}: needs {amount(name, value)}" for name, value in amounts.items())


def waits(what: str, *, guessed: bool) -> str:
    """Return what is to be said of a task that waits for `what`; where that is guessed, it did not ask for so much."""
    return f"waits for {what}{' (so much its kind was seen to take)' if guessed else ''}"


def ahead(count: int) -> str:
    """Return how many tasks go before one."""
    return f"{count or 'no'} task{'' if count == 1 else 's'} ahead"
