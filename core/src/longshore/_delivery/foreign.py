"""Buses and events of others: what a bus that is not ours is given, and what an event that is not ours is taken for.

Two dialects are spoken: `emit` with `.type` and `.data`, `publish` with `.event_type` and `.payload`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Protocol, TypeGuard

from msgspec import Struct
from msgspec.structs import replace

from longshore._delivery.subscriber import Subscription
from longshore.events import AnyEvent, Event

_TYPE_NAMES = frozenset({"type", "type_", "event_type", "kind", "name", "event_name", "topic"})
_DATA_NAMES = frozenset({"data", "payload", "event_data", "body", "message", "details", "values"})
_UNSTAMPED = Event("").at


class Subscribable(Protocol):
    """What a foreign bus is attached to."""

    def subscribe(
        self, handler: Callable[[AnyEvent], object], types: None = None, *, name: str | None = None
    ) -> Subscription:
        """Call `handler` with every event, under `name` in reports."""


class BridgedEvent(Struct, frozen=True):
    """An event of ours as others get it: it answers in both dialects."""

    type: str
    data: dict[str, Any]  # Any: JSON-safe values
    seq: int
    at: datetime

    @property
    def event_type(self) -> str:
        """The same as `type`."""
        return self.type

    @property
    def payload(self) -> dict[str, Any]:  # Any: JSON-safe values
        """The same as `data`."""
        return self.data


class ForeignBus:
    """Any object with `emit` or `publish`, sync or async, told of everything that a bus of ours is told of.

    Its method is called with one event, or with type and data where it asks for two arguments or names its first two
    so (`event_type, data=None`); on the loop where it is a coroutine function, else on our bus's thread: never where a
    task is dispatched. What it raises is counted.
    """

    def __init__(self, target: object) -> None:
        """Adapt `target`; TypeError when it has neither method."""
        method = getattr(target, "emit", None) or getattr(target, "publish", None)
        if not callable(method):
            raise TypeError(f"an event bus needs a method emit or publish; {type(target).__name__} has neither")
        self.name = f"event_bus:{type(target).__name__}"
        self._method: Callable[..., Any] = method  # Any: what others return is theirs
        self._takes_two = _takes_type_and_data(method)

    def attach(self, bus: Subscribable) -> Callable[[], None]:
        """Pass on every event of `bus` from now on, until the function returned is called; what waits then is, too."""
        is_async = inspect.iscoroutinefunction(self._method)
        return bus.subscribe(self._send_async if is_async else self._send, name=self.name).finish

    def _send(self, event: AnyEvent) -> object:
        if self._takes_two:
            return self._method(event.type, event.data)
        return self._method(BridgedEvent(event.type, event.data, event.seq, event.at))

    async def _send_async(self, event: AnyEvent) -> None:
        result = self._send(event)
        if inspect.isawaitable(result):
            await result


def as_event(event: object) -> AnyEvent:
    """Return `event` in our form: with a name, flat data, a place and a time; TypeError where it has no name."""
    if isinstance(event, Event):
        return replace(event, at=_stamp(event.at))
    if _is_whole(event):
        return event
    kind = getattr(event, "type", None) or getattr(event, "event_type", None)
    if isinstance(kind, Enum):
        kind = kind.value
    if not isinstance(kind, str):
        raise TypeError(f"an event needs a .type (or .event_type) that is a string; {type(event).__name__} has none")
    data = getattr(event, "data", None)
    if data is None:
        data = getattr(event, "payload", None)
    seq, at = getattr(event, "seq", 0), getattr(event, "at", None)
    return Event(
        kind,
        dict(data) if isinstance(data, Mapping) else {},
        seq if isinstance(seq, int) else 0,
        _stamp(at),
    )


def _stamp(at: object) -> datetime:
    """Return an aware time: the given one where there is one, local where it says no zone, else now."""
    if not isinstance(at, datetime) or at == _UNSTAMPED:
        return datetime.now(UTC)
    return at if at.tzinfo else at.astimezone()


def _is_whole(event: object) -> TypeGuard[AnyEvent]:
    """Tell whether nothing of what our events offer is missing."""
    wanted = (("seq", int), ("at", datetime), ("data", dict))
    # A str that is an Enum is named rather than passed on: its repr is not the type's name.
    fits = all(isinstance(getattr(event, name, None), kind) for name, kind in wanted)
    return fits and type(getattr(event, "type", None)) is str and getattr(event, "at", _UNSTAMPED).tzinfo is not None


def _takes_type_and_data(method: Callable[..., object]) -> bool:
    """Tell whether a method is to be called with two arguments: those it must be given, or names like these."""
    try:
        parameters = inspect.signature(method).parameters.values()
    except (TypeError, ValueError):  # a method written in C may tell nothing
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    taken = [parameter for parameter in parameters if parameter.kind in positional]
    required = sum(parameter.default is inspect.Parameter.empty for parameter in taken)
    if required >= 2 or len(taken) < 2:
        return required == 2
    return taken[0].name.lower() in _TYPE_NAMES and taken[1].name.lower() in _DATA_NAMES
