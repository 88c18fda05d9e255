"""What a page asks for: the query of a request comes in, values that are fit for the store go out."""

from __future__ import annotations

import logging
import math
from typing import Any

from longshore.runs import STATES, By, TaskFilter
from starlette.requests import Request

from longshore_dashboard._answers import Unanswerable

_TEXT_CHARS = 500
_LIMIT = 1000


def text(request: Request, name: str) -> str | None:
    """Return a text; None where it is left out or empty."""
    value = request.query_params.get(name) or None
    if value is not None and len(value) > _TEXT_CHARS:
        raise Unanswerable(400, f"`{name}` is longer than {_TEXT_CHARS} characters")
    return value


def number(request: Request, name: str) -> float | None:
    """Return a number, such as a time in seconds since 1970; None where it is left out."""
    value = text(request, name)
    try:
        found = None if value is None else float(value)
    except ValueError:
        found = math.nan
    if found is not None and not math.isfinite(found):
        raise Unanswerable(400, f"`{name}` has to be a number")
    return found


def whole(request: Request, name: str, usual: int, most: int) -> int:
    """Return a whole number from 0 to `most`."""
    found = number(request, name)
    if found is None:
        return usual
    if not 0 <= found <= most or found != int(found):
        raise Unanswerable(400, f"`{name}` has to be a whole number from 0 to {most}")
    return int(found)


def task_filter(request: Request) -> TaskFilter:
    """Return which tasks are wanted."""
    states = tuple(filter(None, (text(request, "state") or "").split(",")))
    for state in states:
        if state not in STATES:
            raise Unanswerable(400, f"`state` is one or several of {', '.join(STATES)}")
    return TaskFilter(
        states=states or None,
        name=text(request, "name"),
        executor=text(request, "executor"),
        worker=text(request, "worker"),
        fingerprint=text(request, "fingerprint"),
        text=text(request, "q"),
    )


def task_page(request: Request) -> dict[str, Any]:  # Any: the arguments of RunStore.tasks
    """Return which page of them."""
    return {
        "sort": text(request, "sort") or "id",
        "descending": text(request, "desc") in ("1", "true"),
        "after": text(request, "after"),
        "limit": max(1, whole(request, "limit", 100, _LIMIT)),
    }


def lanes(request: Request) -> By:
    """Return what the lanes of a timeline are."""
    match text(request, "by"):
        case None | "workers":
            return "workers"
        case "stages":
            return "stages"
        case _:
            raise Unanswerable(400, "`by` is workers or stages")


def level(request: Request) -> int:
    """Return the lowest level of lines that are wanted."""
    name = (text(request, "level") or "NOTSET").upper()
    found = logging.getLevelNamesMapping().get(name)
    if found is None:
        raise Unanswerable(400, "`level` is debug, info, warning, error or critical")
    return found
