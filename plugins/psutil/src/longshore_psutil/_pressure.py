"""Pressure stall information: for what part of the time work waited for memory, CPU or disks.

The kernel's Documentation/accounting/psi.rst: "some" is the time in which at least one task waited, "full" that in
which all that were not idle did, so that nothing was done. It says that there is too little, never how much would fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from longshore.cgroups import ControlGroups, text_of
from longshore.records import Usage

_KINDS = {"memory": ("some", "full"), "cpu": ("some",), "io": ("some", "full")}
"""What is told of each; nothing ever waits in full for the CPU of a whole machine."""
_PERCENT_PER_US = 1e-4
"""One microsecond of waiting a second, in percent."""


def pressures(proc: str, groups: ControlGroups, rate: Callable[[str, float], float]) -> Iterator[tuple[str, Usage]]:
    """Yield the pressures by key, in percent of time: our own control group's, else the machine's, else none."""
    own = next(iter(groups.levels("")), None)
    for name, kinds in _KINDS.items():
        text = (own.text(f"{name}.pressure") if own is not None else "") or text_of(f"{proc}/pressure/{name}")
        for line in text.splitlines():
            kind, *fields = line.split() or [""]
            figures = dict(field.partition("=")[::2] for field in fields)
            average, total_us = _number(figures.get("avg10")), _number(figures.get("total"))
            if kind in kinds and average is not None and total_us is not None:
                key = f"pressure.{name}.{kind}"
                yield key, Usage(average, 100.0)
                yield f"{key}.now", Usage(min(100.0, rate(key, total_us) * _PERCENT_PER_US), 100.0)


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
