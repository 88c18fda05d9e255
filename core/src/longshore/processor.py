"""The words of processors: what one is given, what it gives, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import force_setattr

from longshore.task import CircuitBreaker, Priority


class ProcessorContext(Struct, frozen=True, kw_only=True):
    """The document a processor works on; travels to workers unchanged.

    Where `file_path` is the URL of an object, such as s3://bucket/a.pdf, a processor is given a local copy's path.
    Stages that share this process share its mappings as well, and others get a copy: treat them as read-only.
    """

    document_id: str
    file_path: str | None = None
    mime_type: str | None = None
    metadata: Mapping[str, Any] = {}  # Any: JSON-safe values
    previous_results: Mapping[str, Any] = {}  # Any: `data` of the stages this one comes after, by stage name

    def __post_init__(self) -> None:
        """Have a str for an id, also where a Path was given: events carry it."""
        if type(self.document_id) is not str:
            force_setattr(self, "document_id", str(self.document_id))


class ProcessorResult(Struct, frozen=True, kw_only=True):
    """What a processor gives back; "failed" counts as a failed task without an exception being raised.

    A status in another case, or an Enum's member with one of the two values, counts as that; any other fails the task.
    """

    status: Literal["completed", "failed"] = "completed"
    data: Mapping[str, Any] = {}  # Any: JSON-safe values
    errors: Sequence[str] = ()
    metadata: Mapping[str, Any] = {}  # Any: JSON-safe values


class ProcessorHealth(Struct, frozen=True, kw_only=True):
    """Whether a processor can work, and if not, why; `took_s` is how long the answer took."""

    healthy: bool
    reason: str | None = None
    took_s: float = 0.0


class ProcessorMetadata(Struct, frozen=True, kw_only=True):
    """What a processor says of itself; the pool acts on it without the caller's help."""

    name: str
    version: str
    formats: Sequence[str] = ()
    """File suffixes without the dot, or MIME types, in lower case; empty means any. Others are refused unrun."""
    timeout_seconds: float = 300.0
    retry_count: int = 3
    """How often a failed attempt is tried again: 3 makes 4 attempts."""
    concurrent_limit: int = 10
    """How many documents may be in it at once."""
    executor: str | None = None
    """Where it runs; None: `processes` where it is CPU-intensive, `asyncio` where its `process` is a coroutine."""
    is_cpu_intensive: bool = False
    is_io_intensive: bool = False
    requires_gpu: bool = False
    memory_mb: float = 0.0
    """What a document reserves while it is worked on."""
    max_file_size_mb: float | None = None
    """Larger files, and files that are not there, are refused unrun; MB is 10**6 bytes."""
    priority: Priority = Priority.NORMAL
    breaker: CircuitBreaker | None = None
    """When no document is begun since it fails time after time; None: as settings say, by default never."""


__all__ = ["ProcessorContext", "ProcessorHealth", "ProcessorMetadata", "ProcessorResult"]
