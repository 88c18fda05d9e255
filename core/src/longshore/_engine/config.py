"""What an engine is given to keep to, and what it shows of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from longshore.records import TaskCounts


class ScaleBounds(Struct, frozen=True):
    """Between how many workers an executor may have, and after how long without use there are fewer."""

    min_workers: int
    max_workers: int
    idle_s: float = 30.0


class EngineConfig(Struct, frozen=True, kw_only=True):
    """The bounds the engine keeps."""

    max_queue_size: int = 1000
    priority_queue_size: int = 100
    """The bound of CRITICAL tasks, which have a queue of their own."""
    max_concurrent_tasks: int = 50
    capacity: Mapping[str, float] = {}
    scaling: Mapping[str, ScaleBounds] = {}
    """Executors that grow and shrink, by name."""
    learnt: Mapping[str, Any] = {}  # Any: JSON-safe values
    """What runs before this one learnt of their tasks, as `Engine.learnt` told it."""


class EngineSnapshot(TaskCounts, frozen=True, kw_only=True):
    """Where all accepted tasks are. Folding the engine's events gives the same numbers."""

    retried: int = 0
    late: int = 0
    """Reports of attempts that no longer counted."""
