"""A probe that reads from a script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from longshore.hookspecs import hookimpl
from longshore.records import Reading, ReadRequest


class ScriptedProbe:
    """Gives the readings of its script one after the other, and then the last one again; an exception is raised."""

    api = 1

    def __init__(
        self,
        readings: Iterable[Reading | Exception],
        *,
        resources: Sequence[str] = ("cpu", "memory"),
        period_s: float = 0.01,
    ) -> None:
        """Read from `readings`, which must hold at least one."""
        self._script = list(readings)
        if not self._script:
            raise ValueError("a ScriptedProbe needs at least one reading")
        self._resources = tuple(resources)
        self._period_s = period_s
        self.requests: list[ReadRequest] = []
        """What was asked, in order."""

    def then(self, reading: Reading | Exception) -> None:
        """Give this from now on; from any thread."""
        self._script = [reading]

    @property
    def resources(self) -> Sequence[str]:
        """The keys it reads."""
        return self._resources

    @property
    def period_s(self) -> float:
        """Seconds between two readings."""
        return self._period_s

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        """Return the next reading, or raise it where it is an exception."""
        self.requests.append(request)
        script = self._script
        reading = script[min(len(self.requests), len(script)) - 1]
        if isinstance(reading, Exception):
            raise reading
        return reading


__all__ = ["ScriptedProbe"]
