"""The two models the specification fixes: how many workers, and what of the machine they may use."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from math import inf
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from longshore.task import CircuitBreaker


def _no_flag(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("number", "must be a number")
    return value


Whole = Annotated[int, BeforeValidator(_no_flag)]
Number = Annotated[float, BeforeValidator(_no_flag)]
Finite = Annotated[float, BeforeValidator(_no_flag), Field(allow_inf_nan=False)]

_WARN_AT = 0.8
"""Where nothing is said, a warning comes at this part of the limit."""
_LOWEST_PERCENT = 10.0
_RESERVED = frozenset({"cpu", "memory", "disk_io", "network_io", "gpu", "gpu_memory"})


class ResourceType(StrEnum):
    """The system resources that have limits."""

    CPU = "cpu"
    MEMORY = "memory"
    DISK_IO = "disk_io"
    NETWORK_IO = "network_io"
    GPU = "gpu"


class WorkerScaling(BaseModel):
    """Between how many workers an executor grows and shrinks with its load; frozen, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_workers: Whole = Field(default=1, ge=1, description="Workers it has at least")
    max_workers: Whole = Field(ge=1, description="Workers it has at most")
    idle_s: Finite = Field(default=30.0, gt=0, description="Seconds a worker may go unused before there are fewer")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_workers > self.max_workers:
            least, most = self.min_workers, self.max_workers
            raise PydanticCustomError(
                "order", "min_workers ({least}) is above max_workers ({most})", {"least": least, "most": most}
            )
        return self


class WorkerConfig(BaseModel):
    """How many workers there are, and how long queues and tasks may get; frozen, unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "example": {
                "async_workers": 4,
                "thread_workers": 2,
                "process_workers": 0,
                "max_queue_size": 1000,
                "default_timeout": 300.0,
            }
        },
    )

    async_workers: Whole = Field(default=4, ge=1, description="Coroutine tasks that run at once")
    thread_workers: Whole = Field(default=2, ge=0, description="Worker threads")
    process_workers: Whole = Field(default=0, ge=0, description="Worker processes; 0 starts them on demand")
    max_queue_size: Whole = Field(default=1000, ge=10, description="Tasks that may wait")
    priority_queue_size: Whole = Field(default=100, ge=10, description="Critical tasks that may wait")
    default_timeout: Finite = Field(
        default=300.0, gt=0, allow_inf_nan=False, description="Seconds a task may run that says nothing else"
    )
    default_soft_timeout: Finite | None = Field(
        default=None, gt=0, description="Seconds after which a task that says nothing else is told of as overdue"
    )
    worker_heartbeat_interval: Finite = Field(
        default=10.0, gt=0, allow_inf_nan=False, description="Seconds between two heartbeats"
    )
    max_concurrent_tasks: Whole = Field(default=50, ge=1, description="Tasks that run at once, over all executors")
    scaling: dict[str, WorkerScaling] = Field(
        default={}, description="Executors whose number of workers follows their load, by name"
    )
    task_memory_limit_mb: Whole = Field(default=1024, ge=64, description="MB a task may let its worker process grow by")

    @field_validator("scaling")
    @classmethod
    def _can_scale(cls, scaling: dict[str, WorkerScaling], info: ValidationInfo) -> dict[str, WorkerScaling]:
        if "inline" in scaling:
            raise PydanticCustomError("inline", "inline has one worker, the pool's own thread")
        if "threads" in scaling and info.data.get("thread_workers") == 0:
            raise PydanticCustomError("no_threads", "threads can't grow where thread_workers is 0")
        return scaling


class ResourceLimits(BaseModel):
    """What of the machine may be used; frozen, unknown keys are refused.

    A warning level that is not given follows a limit set below its default, at 80 % of it.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"example": {"max_cpu_percent": 80.0, "max_memory_percent": 75.0, "max_disk_io_mbps": 200.0}},
    )

    max_cpu_percent: Number = Field(
        default=80.0, ge=_LOWEST_PERCENT, le=100.0, description="Percent of all cores above which nothing new starts"
    )
    warning_cpu_percent: Number = Field(
        default=70.0, ge=_LOWEST_PERCENT, le=100.0, description="Percent above which less runs at once"
    )
    max_memory_percent: Number = Field(
        default=75.0, ge=_LOWEST_PERCENT, le=100.0, description="Percent of memory above which nothing new starts"
    )
    warning_memory_percent: Number = Field(
        default=65.0, ge=_LOWEST_PERCENT, le=100.0, description="Percent above which less runs at once"
    )
    max_disk_io_mbps: Number | None = Field(default=None, ge=1.0, description="MB/s; none is no limit")
    warning_disk_io_mbps: Number | None = Field(default=None, ge=1.0, description="MB/s; none is 80 % of the limit")
    max_network_io_mbps: Number | None = Field(default=None, ge=1.0, description="MB/s; none is no limit")
    max_gpu_percent: Number | None = Field(
        default=None,
        ge=_LOWEST_PERCENT,
        le=100.0,
        description="Percent of a GPU above which it takes no more; none is no limit",
    )
    max_gpu_memory_mb: Whole | None = Field(
        default=None, ge=100, description="MB of a GPU that tasks may hold; none is all of it"
    )
    gpu_count: Whole = Field(default=0, ge=0, description="GPUs there are, where no probe counts them")
    custom: dict[str, Annotated[Finite, Field(ge=0)]] = Field(
        default={}, description="Pools of your own by name, such as licences: how much tasks may hold of each at once"
    )

    @field_validator("custom")
    @classmethod
    def _named_anew(cls, pools: dict[str, float]) -> dict[str, float]:
        taken = sorted(pools.keys() & _RESERVED)
        if taken:
            raise PydanticCustomError("reserved", "{name} is a resource with limits of its own", {"name": taken[0]})
        return pools

    @model_validator(mode="before")
    @classmethod
    def _follow(cls, data: Any) -> Any:  # Any: unchecked input
        if not isinstance(data, dict):
            return data
        followed = dict(data)
        for name in ("cpu", "memory"):
            limit, warning = data.get(f"max_{name}_percent"), f"warning_{name}_percent"
            default = cls.model_fields[warning].default
            if warning not in data and isinstance(limit, int | float) and _LOWEST_PERCENT <= limit < default:
                followed[warning] = max(_LOWEST_PERCENT, limit * _WARN_AT)
        return followed

    @field_validator("warning_cpu_percent", "warning_memory_percent", "warning_disk_io_mbps")
    @classmethod
    def _below_limit(cls, value: float | None, info: ValidationInfo) -> float | None:
        name = str(info.field_name).replace("warning_", "max_")
        limit = info.data.get(name)
        if value is not None and limit is not None and value > limit:
            raise PydanticCustomError(
                "above_limit", "must not be above {name} ({limit})", {"name": name, "limit": limit}
            )
        return value

    def get_limit(self, resource: ResourceType | str) -> float:
        """Return the limit in percent (cpu, memory, gpu) or MB/s; infinity where there is none."""
        limits = {
            ResourceType.CPU: self.max_cpu_percent,
            ResourceType.MEMORY: self.max_memory_percent,
            ResourceType.DISK_IO: self.max_disk_io_mbps,
            ResourceType.NETWORK_IO: self.max_network_io_mbps,
            ResourceType.GPU: self.max_gpu_percent,
        }
        limit = limits[ResourceType(resource)]
        return inf if limit is None else limit

    def get_warning_threshold(self, resource: ResourceType | str) -> float:
        """Return the level to warn at; 80 % of the limit where none is set."""
        warnings = {
            ResourceType.CPU: self.warning_cpu_percent,
            ResourceType.MEMORY: self.warning_memory_percent,
            ResourceType.DISK_IO: self.warning_disk_io_mbps,
        }
        warning = warnings.get(ResourceType(resource))
        return self.get_limit(resource) * _WARN_AT if warning is None else warning


class BreakerSettings(BaseModel):
    """When tasks of a name, or of a processor, are held back for failing; frozen, unknown keys are refused.

    The table turns it on, even if it is empty. See `longshore.CircuitBreaker`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    failures: int = Field(default=5, ge=1, description="Failed attempts in a row after which none is started")
    open_s: Finite = Field(default=60.0, gt=0, description="Seconds for which none is")
    trials: int = Field(default=3, ge=1, description="How many are tried then, and must end well")

    def rule(self) -> CircuitBreaker:
        """Return it as tasks have it."""
        return CircuitBreaker(self.failures, self.open_s, self.trials)


PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {  # Any: values of the two models
    "default": {
        "workers": {"async_workers": 4, "thread_workers": 2},
        "limits": {"max_cpu_percent": 80.0, "max_memory_percent": 75.0},
    },
    "throughput": {
        "workers": {"async_workers": 8, "thread_workers": 4},
        "limits": {"max_cpu_percent": 90.0, "max_memory_percent": 85.0},
    },
    "lean": {
        "workers": {"async_workers": 2, "thread_workers": 1},
        "limits": {"max_cpu_percent": 70.0, "max_memory_percent": 60.0},
    },
}
"""What settings are where they are silent, by the name of the preset."""


def under_preset(data: Mapping[str, Any]) -> dict[str, Any]:  # Any: unchecked input
    """Return the table with its preset's values wherever it says nothing itself."""
    whole = dict(data)
    name = data.get("preset")
    for section, values in (PRESETS.get(name, {}) if isinstance(name, str) else {}).items():
        given = data.get(section, {})
        if isinstance(given, BaseModel):
            given = given.model_dump(exclude_unset=True)
        if isinstance(given, Mapping):
            whole[section] = {**values, **given}
    return whole


__all__ = [
    "PRESETS",
    "BreakerSettings",
    "ResourceLimits",
    "ResourceType",
    "WorkerConfig",
    "WorkerScaling",
    "under_preset",
]
