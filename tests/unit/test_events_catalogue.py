"""The page of the catalogue says what the catalogue says, and the catalogue what our own types of events say."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from longshore import CATALOGUE, EVENTS_VERSION, events
from msgspec.structs import fields

PAGE = Path(__file__).parents[2] / "docs" / "events.md"
BEGIN, END = "<!-- catalogue -->\n", "<!-- end -->\n"
NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false", list[str]: "list of text"}


def named(hint: Any) -> str:
    """Return a type in the words of the page."""
    if get_origin(hint) in (Union, UnionType):
        (kind,) = [one for one in get_args(hint) if one is not NoneType]
        return f"{named(kind)} or null"
    return NAMES.get(hint, "object")


def section(name: str) -> str:
    record = CATALOGUE[name]
    hints = get_type_hints(record)
    rows = [
        f"| `{f.name}` | {named(hints[f.name])} | {'always' if f.required else 'if known'} |" for f in fields(record)
    ]
    return "\n".join(
        [f"### {name}", "", str(inspect.getdoc(record)), "", "| field | is | given |", "|---|---|---|", *rows]
    )


@pytest.mark.events
@pytest.mark.requirement("req:I02")
def test_the_page_is_the_catalogue() -> None:
    """`docs/events.md` lists every type and field; where this fails, what it should say stands in the message."""
    page = PAGE.read_text(encoding="utf-8")
    wanted = "\n\n".join(map(section, CATALOGUE)) + "\n"
    assert page.partition(BEGIN)[2].partition(END)[0] == wanted, wanted
    assert f"version {EVENTS_VERSION}" in page


@pytest.mark.events
@pytest.mark.requirement("req:I02")
def test_every_typed_event_is_in_the_catalogue() -> None:
    """Each of our classes of events has its type there, with all its fields."""
    typed = [kind for _, kind in inspect.getmembers(events, inspect.isclass) if getattr(kind, "type", "") in CATALOGUE]
    assert len(typed) == 7
    for kind in typed:
        own = {field.name for field in fields(kind)} - {"seq", "at"}
        assert {field.name for field in fields(CATALOGUE[kind.type])} == own
    assert set(events.TERMINAL_TYPES) < set(CATALOGUE)
