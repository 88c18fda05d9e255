"""What people are alerted of: looks at a run come in, alerts that are raised or cleared go out; pure.

Each alert is raised once and stands until it is cleared. One that was raised by a level is cleared a gap below it, so
that what swings around the level raises one alert.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from msgspec import Struct

from longshore.events import Happened
from longshore.records import Alert, TaskCounts

GAP = 0.1
"""How far below its level an alert is cleared, as a part of it."""


class AlertRules(Struct, frozen=True, kw_only=True):
    """What alerts are raised for; see `AlertSettings` and `HealthSettings`."""

    error_percent: float = 10.0
    error_window_s: float = 300.0
    error_least: int = 20
    resource_percent: float = 90.0
    rate_least_per_s: float = 0.1
    rate_window_s: float = 60.0
    stall_after_s: float = 600.0


class Look(Struct, frozen=True, kw_only=True):
    """What is to be seen of a run at one moment."""

    counts: TaskCounts
    moves: int
    """Rises with every task that starts, ends, is to be retried or reports progress."""
    percent: Mapping[str, float] = {}
    """How far each resource is used, of what there is; of CPU, what others use."""
    paused: bool = False


class _Mark(Struct, frozen=True):
    at: float
    completed: int
    failed: int
    ended: int


class _Finding(Struct, frozen=True):
    """Whether one alert is due."""

    name: str
    over: bool
    calm: bool
    """Whether it is to be cleared; neither this nor `over` leaves it as it is."""
    value: float
    threshold: float
    said: Callable[[], str]
    subject: str = ""


class Alerts:
    """The alerts of one run. `look` is called on one thread, `standing` may be read from any."""

    def __init__(self, rules: AlertRules) -> None:
        """Have raised none."""
        self._rules = rules
        self._marks: deque[_Mark] = deque()
        self._moves = -1
        self._moved_at = 0.0
        self._waits_since: float | None = None
        self._raised: dict[tuple[str, str], Alert] = {}
        self.standing: tuple[Alert, ...] = ()
        """The alerts that stand, the oldest first."""

    def look(self, seen: Look, now: float, at: datetime, stuck: Callable[[], str]) -> list[Happened]:
        """Take what is seen at monotonic `now`; return the events of what was raised or cleared by that.

        `stuck` says in words what runs and what waits; it is called when nothing has moved for too long.
        """
        self._mark(seen.counts, now)
        found = [self._errors(), *self._resources(seen.percent), self._rate(seen, now), self._stall(seen, now, stuck)]
        told = [event for finding in found if (event := self._settle(finding, at)) is not None]
        if told:
            self.standing = tuple(self._raised.values())
        return told

    def _mark(self, counts: TaskCounts, now: float) -> None:
        """Remember the counts for as long as the longest window, and an older mark to begin it."""
        self._marks.append(_Mark(now, counts.completed, counts.failed, counts.ended))
        since = now - max(self._rules.error_window_s, self._rules.rate_window_s)
        while len(self._marks) > 2 and self._marks[1].at <= since:
            self._marks.popleft()

    def _before(self, window_s: float) -> _Mark:
        """Return the newest mark that is at least so old, or the oldest there is."""
        since = self._marks[-1].at - window_s
        found = self._marks[0]
        for mark in self._marks:
            if mark.at > since:
                break
            found = mark
        return found

    def _errors(self) -> _Finding:
        rules, first, last = self._rules, self._before(self._rules.error_window_s), self._marks[-1]
        failed = last.failed - first.failed
        ended = failed + last.completed - first.completed
        percent, most = 100.0 * failed / ended if ended else 0.0, rules.error_percent

        def said() -> str:
            who = f"{failed} of {ended} tasks that ended in the last {rules.error_window_s:g} s"
            return f"{who} failed, {percent:.3g} %: more than {most:g} %"

        over = percent > most and ended >= rules.error_least
        return _Finding("error_rate", over, percent <= most * (1.0 - GAP), percent, most, said)

    def _resources(self, percents: Mapping[str, float]) -> Iterator[_Finding]:
        raised = [subject for name, subject in self._raised if name == "resource"]
        most = self._rules.resource_percent
        for name in dict.fromkeys((*percents, *raised)):
            percent = percents.get(name, 0.0)  # of what is measured no more nobody knows that it is short
            by = " by others" if name == "cpu" else ""
            said = f"{percent:.3g} % of {name} is used{by}: more than {most:g} %"
            yield _Finding(
                "resource", percent > most, percent <= most * (1.0 - GAP), percent, most, said.__str__, subject=name
            )

    def _rate(self, seen: Look, now: float) -> _Finding:
        least, window_s = self._rules.rate_least_per_s, self._rules.rate_window_s
        waits = seen.counts.queued > 0 and not seen.paused
        if not waits or self._waits_since is None:
            self._waits_since = now if waits else None
        first, last = self._before(window_s), self._marks[-1]
        span = last.at - first.at
        rate = (last.ended - first.ended) / span if span > 0 else 0.0
        long = self._waits_since is not None and now - self._waits_since >= window_s
        said = f"{rate:.3g} tasks a second ended in the last {window_s:g} s, fewer than {least:g}, while others wait"
        return _Finding("throughput", long and rate < least, not waits or rate >= least, rate, least, said.__str__)

    def _stall(self, seen: Look, now: float, stuck: Callable[[], str]) -> _Finding:
        """Look for a time in which nothing at all happened; to wait for a retry, or while paused, is none."""
        work = seen.counts.running + (0 if seen.paused else seen.counts.queued)
        moved = seen.moves != self._moves or not work
        if moved:
            self._moves, self._moved_at = seen.moves, now
        after_s, quiet_s = self._rules.stall_after_s, now - self._moved_at

        def said() -> str:
            return f"nothing has started, ended or reported progress for {quiet_s:.0f} s: {stuck()}"

        return _Finding("stalled", quiet_s >= after_s, moved, quiet_s, after_s, said)

    def _settle(self, found: _Finding, at: datetime) -> Happened | None:
        """Raise an alert that is due and not there, or clear one that is there and not due."""
        key = found.name, found.subject
        held = self._raised.get(key)
        if held is None and found.over:
            alert = self._raised[key] = Alert(
                name=found.name,
                subject=found.subject,
                message=found.said(),
                since=at,
                value=found.value,
                threshold=found.threshold,
            )
            return _told(alert, "raised", found.value, alert.message)
        if held is not None and found.calm:
            del self._raised[key]
            return _told(held, "cleared", found.value, f"no longer: {held.message}")
        return None


def _told(alert: Alert, state: str, value: float, message: str) -> Happened:
    data = {"alert": alert.name, "subject": alert.subject, "state": state, "message": message}
    return Happened("alert", {**data, "value": value, "threshold": alert.threshold})
