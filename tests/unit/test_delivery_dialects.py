"""With what a bus of others is called: seen from how its method is written."""

from __future__ import annotations

from typing import Any

import pytest
from longshore._delivery import EventBus, ForeignBus
from longshore.events import Event

pytestmark = [pytest.mark.anyio, pytest.mark.events]

ONE = ["event", "event, *, x=None", "event, priority=None", "event, data=None", "event_type, priority=None", "*args"]
TWO = [
    "event_type, data",
    "event_type, data=None",
    "name, payload=None, **more",
    "type=None, data=None",
    "event_type, data=None, priority=0",
    "a, b",
    "kind, payload=None, /",
]


class Bus:
    """A bus whose method has the parameters given, and keeps the positional ones it got."""

    def __init__(self, method: str, parameters: str) -> None:
        self.calls: list[list[Any]] = []
        names = [part.partition("=")[0].strip() for part in parameters.split(", ")]
        given = ", ".join(name for name in names[:2] if name.isidentifier()) or "*args"
        made: dict[str, Any] = {"calls": self.calls}
        exec(f"def method({parameters}): calls.append([{given}])", made)
        setattr(self, method, made["method"])


async def called(method: str, parameters: str) -> list[Any]:
    """What such a bus is called with for one event."""
    bus, theirs = EventBus(), Bus(method, parameters)
    ForeignBus(theirs).attach(bus)
    bus.publish(Event("x", {"k": 1}))
    assert await bus.drain(5)
    assert [health.errors for health in bus.health()] == [0]
    bus.close(5)
    return theirs.calls[0]


@pytest.mark.requirement("req:I01")
@pytest.mark.parametrize("method", ["emit", "publish"])
@pytest.mark.parametrize("parameters", TWO)
async def test_type_and_data_are_given_where_asked_for(method: str, parameters: str) -> None:
    """Two arguments that must be given, or are named like a type and its data, are the type and the data."""
    assert await called(method, parameters) == ["x", {"k": 1}]


@pytest.mark.requirement("req:I01")
@pytest.mark.parametrize("method", ["emit", "publish"])
@pytest.mark.parametrize("parameters", ONE)
async def test_one_event_is_given_else(method: str, parameters: str) -> None:
    """Whatever else a method may be given, it is called with the event alone."""
    first = (await called(method, parameters))[0]
    assert (first.type, first.event_type, first.data, first.payload) == ("x", "x", {"k": 1}, {"k": 1})
