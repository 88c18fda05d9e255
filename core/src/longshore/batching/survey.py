"""A probe of machines that are not this one: what the system tells of those its workers are on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from longshore.hookspecs import hookimpl
from longshore.records import Reading, ReadRequest, Usage

PERIOD_S: Final = 1.0
_FOR_EACH_S: Final = 0.02  # the answer grows with the cluster


class ClusterProbe:
    """Reads cores and memory of a cluster that the pool uses: what `ask` tells by address, as `use_of` reads it."""

    resources = ("cpu", "memory")

    def __init__(
        self,
        ask: Callable[[], Mapping[str, Any]],
        use_of: Callable[[Mapping[str, Any]], Mapping[str, Usage]],
    ) -> None:
        """Have read nothing. Any: whatever the system tells."""
        self._ask, self._use_of = ask, use_of
        self._known = 0

    @property
    def period_s(self) -> float:
        """About a second; of more than 50 machines or workers they are read less often."""
        return max(PERIOD_S, _FOR_EACH_S * self._known)

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        """Return what is told now; raises where nobody answers."""
        told = self._ask()
        self._known = len(told)
        return Reading(datetime.now(UTC), self._use_of(told))


__all__ = ["PERIOD_S", "ClusterProbe"]
