"""What an executor is asked and what it tells beside outcomes: the records of its contract.

Used by `hookspecs`, from where everybody has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct


class CancelRequest(Struct, frozen=True):
    """Attempts that are to end: each is still reported, as cancelled unless it ended first."""

    task_ids: Sequence[str]
    message: str = "cancelled"


class ResizeRequest(Struct, frozen=True):
    """How many workers are wanted from now on; running attempts go on."""

    workers: int


class LimitRequest(Struct, frozen=True):
    """How many workers may run something at once from now on, None for all there are; running attempts go on.

    It is no resize: the others stay, with what they have loaded, and take nothing until they may. With 0 none begins.
    """

    workers: int | None


class WorkerNotice(Struct, frozen=True):
    """Something about a worker that is no outcome: it becomes the event `type` with these data."""

    type: str
    """"worker_error", "worker_blocked" or "task_overdue"; the data are those of the catalogue."""
    data: Mapping[str, Any]  # Any: JSON-safe values
