"""The records of how a pool is: what was looked at, and the alerts that stand.

Used by `records`, from where everybody has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

LIVE_CHECKS = ("loop", "scheduler")
"""The checks that say whether the pool lives; none of them looks at what it depends on."""
READY_CHECKS = ("running", "loop", "scheduler", "executors", "journal", "monitor", "queue")
"""The checks that say whether work should be sent here now."""


class Alert(Struct, frozen=True, kw_only=True):
    """Something that people should look at, for as long as it stands; it changes nothing about what runs."""

    name: str
    """"error_rate", "resource", "throughput" or "stalled"."""
    subject: str = ""
    """Which resource; empty where there is but one of its name."""
    message: str
    """In plain words, with the figures of the moment it was raised."""
    since: datetime
    """When it was raised, timezone-aware."""
    value: float
    """What was measured then: percent, tasks a second, or seconds without anything happening."""
    threshold: float
    """What it was raised for passing, in the same unit."""


class Health(Struct, frozen=True, kw_only=True):
    """Whether a pool is well; what it has to do, or has not, is no part of that: an idle pool is healthy."""

    healthy: bool
    reasons: Sequence[str] = ()
    """What is wrong, for people; empty when healthy."""
    checks: Mapping[str, bool] = {}
    """What was looked at: running, loop, scheduler, executors, workers, queue, progress, journal, monitor, probes,
    sinks, handlers; true is well. Empty where nobody could look."""
    found: Mapping[str, Sequence[str]] = {}
    """The reasons by check, of those that are not well."""

    @property
    def live(self) -> bool:
        """Whether the pool's loop turns and its scheduler keeps its times: if not, only a new process helps.

        A pool that is not ready, or not well, for any other reason lives.
        """
        return all(self.checks.get(name, True) for name in LIVE_CHECKS)

    @property
    def ready(self) -> bool:
        """Whether work should be sent here now: it is taken, executors, journal and monitor do their part."""
        return all(self.checks.get(name, True) for name in READY_CHECKS)

    def lines(self, checks: Sequence[str] | None = None) -> list[str]:
        """Return a line for each of these checks that was made (None: for all): "[+]journal ok", "[-]queue failed: …".

        Each is one line, whatever the reasons hold; several reasons are divided by "; ".
        """
        made = self.checks if checks is None else [name for name in checks if name in self.checks]
        return [f"[+]{name} ok" if self.checks[name] else f"[-]{name} failed: {self._said(name)}" for name in made]

    def _said(self, name: str) -> str:
        return " ".join("; ".join(self.found.get(name, ())).split())
