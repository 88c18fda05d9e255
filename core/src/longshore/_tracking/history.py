"""What is remembered of a run over its time: points, reasons to wait and events in, a history of bounded size out.

Written on one thread; `history` may be called from any, for what it is made of is replaced and never changed.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from longshore._history_records import rows_of, state_of
from longshore.events import Happened
from longshore.records import Happening, MetricsPoint, RunHistory, ThrottleBand

T = TypeVar("T", ThrottleBand, Happening)

TEXT_MOST = 500
"""Characters of a reason that are kept."""
NOTABLE = frozenset({"worker_error", "worker_blocked", "resource_warning", "workers_scaled", "alert"})
"""The types of the events that are remembered."""
_FIGURES = re.compile(r"\d[\d.,e+-]*")
_SPANS = {"crossed": True, "raised": True, "cleared": False}  # whether a state begins a span or ends one


class HistoryBounds(Struct, frozen=True, kw_only=True):
    """How often points are taken, and how many of everything are kept; see `HistorySettings`."""

    every_s: float = 60.0
    most: int = 1440
    fine_every_s: float = 2.0
    fine_most: int = 300
    happenings_most: int = 500


class HistoryBook:
    """The history of one run; it goes on with what was recorded before."""

    def __init__(self, bounds: HistoryBounds, before: RunHistory | None = None) -> None:
        """Begin with what there is; what had no end then ended with the last that is known of that part of the run."""
        self._bounds = bounds
        before = RunHistory() if before is None else before
        self._fine = tuple(before.points_fine)[-bounds.fine_most :]
        self._points = tuple(before.points_minute)[-bounds.most :]
        self._rows = rows_of(self._points)
        self._bands = tuple(before.bands)[-bounds.happenings_most :]
        self._happenings = tuple(before.happenings)[-bounds.happenings_most :]
        self._due = float("-inf")
        self._held: str | None = None
        known = [point.at for point in (*self._fine[-1:], *self._points[-1:])]
        if known:
            self.end(max(known))

    def add(self, point: MetricsPoint, held: str | None, now: float) -> bool:
        """Take a point of monotonic `now`, and why tasks wait then; tell whether it was one to be kept for long."""
        self._fine = (*self._fine, point)[-self._bounds.fine_most :]
        self._hold(held, point.at)
        if now < self._due:
            return False
        every_s, late_s = self._bounds.every_s, now - self._due
        self._due = now + every_s - (late_s if late_s < every_s else 0.0)
        self.keep(point)
        return True

    def keep(self, point: MetricsPoint) -> None:
        """Keep a point for long."""
        most = self._bounds.most
        self._points = (*self._points, point)[-most:]
        self._rows = [*self._rows, *rows_of((point,))][-most:]

    def hear(self, event: Happened, at: datetime) -> None:
        """Remember an event, if it is one of note."""
        if event.type in NOTABLE:
            self._take(event.type, event.data, at)

    def end(self, at: datetime) -> None:
        """Let everything end that goes on: the run is over."""
        self._held = None
        self._bands = tuple(_ended(band, at) for band in self._bands)
        self._happenings = tuple(_ended(one, at) for one in self._happenings)

    def history(self) -> RunHistory:
        """Return what is remembered."""
        return RunHistory(
            fine_s=self._bounds.fine_every_s,
            minute_s=self._bounds.every_s,
            points_fine=self._fine,
            points_minute=self._points,
            bands=self._bands,
            happenings=self._happenings,
        )

    def state(self) -> dict[str, Any]:  # Any: JSON-safe values
        """Return it as a journal has it."""
        return state_of(self.history(), self._rows)

    def _hold(self, reason: str | None, at: datetime) -> None:
        """Begin a band, or end it: it goes on for as long as the reason is the same but for its figures."""
        held = None if reason is None else _subject(reason)
        if held == self._held:
            return
        if self._held is not None:
            self._bands = (*self._bands[:-1], _ended(self._bands[-1], at))
        if reason is not None:
            self._begin(reason, at)
        self._held = held

    def _begin(self, reason: str, at: datetime) -> None:
        """Begin a band, or go on with one that ended only just now."""
        last = self._bands[-1] if self._bands else None
        gap = timedelta(seconds=2.0 * self._bounds.fine_every_s)
        if last is not None and last.ended and at - last.ended <= gap and _subject(last.reason) == _subject(reason):
            self._bands = (*self._bands[:-1], replace(last, ended=None))
        else:
            band = ThrottleBand(reason=reason[:TEXT_MOST], began=at)
            self._bands = (*self._bands, band)[-self._bounds.happenings_most :]

    def _take(self, kind: str, data: dict[str, Any], at: datetime) -> None:  # Any: JSON-safe values
        subject, reason = _said(kind, data)
        begins = _SPANS.get(str(data.get("state")))
        if begins is False:
            ends = [one.type == kind and one.subject == subject and one.ended is None for one in self._happenings]
            pairs = zip(self._happenings, ends, strict=True)
            self._happenings = tuple(_ended(one, at) if ending else one for one, ending in pairs)
            return
        blocked_s = data.get("blocked_s")
        began = at - timedelta(seconds=blocked_s) if isinstance(blocked_s, int | float) else at
        happening = Happening(
            type=kind, subject=subject, reason=reason[:TEXT_MOST], began=began, ended=None if begins else at
        )
        self._happenings = (*self._happenings, happening)[-self._bounds.happenings_most :]


def _subject(reason: str) -> str:
    """Return what a reason is about, whatever its figures, and what follows from it."""
    return _FIGURES.sub("", reason.partition(":")[0][:TEXT_MOST])


def _said(kind: str, data: dict[str, Any]) -> tuple[str, str]:  # Any: JSON-safe values
    """Return what an event is about, and what it says."""
    match kind:
        case "resource_warning":
            return f"{data.get('resource')} {data.get('level')}", str(data.get("message", ""))
        case "workers_scaled":
            change = f"from {data.get('before')} to {data.get('workers')} workers"
            return str(data.get("executor")), f"{change}: {data.get('reason')}"
        case "alert":
            return f"{data.get('alert')} {data.get('subject')}".strip(), str(data.get("message", ""))
        case _:
            return str(data.get("worker_id", "")), str(data.get("error", ""))


def _ended(one: T, at: datetime) -> T:
    return one if one.ended is not None else replace(one, ended=max(at, one.began))
