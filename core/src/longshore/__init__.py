"""longshore: a worker pool you plug things into.

What runs work is importable from here, and loaded when it is first asked for; so are the public modules, for those who
write plugins or read records: `longshore.hookspecs`, `longshore.records` and the others.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longshore import batching as batching
    from longshore import catalogue as catalogue
    from longshore import cgroups as cgroups
    from longshore import chaos as chaos
    from longshore import errors as errors
    from longshore import events as events
    from longshore import futures as futures
    from longshore import hookspecs as hookspecs
    from longshore import keeping as keeping
    from longshore import logs as logs
    from longshore import monitor as monitor
    from longshore import pickling as pickling
    from longshore import pipeline as pipeline
    from longshore import plugins as plugins
    from longshore import pool as pool
    from longshore import processor as processor
    from longshore import progress as progress
    from longshore import records as records
    from longshore import runs as runs
    from longshore import settings as settings
    from longshore import shared as shared
    from longshore import sync as sync
    from longshore import task as task
    from longshore import testing as testing
    from longshore import worker as worker
    from longshore._cpus import usable_cpus as usable_cpus
    from longshore._delivery import EventBus as EventBus
    from longshore._diagnosis import Diagnosis as Diagnosis
    from longshore._diagnosis_signal import install_diagnostics as install_diagnostics
    from longshore._diagnosis_text import diagnosis_text as diagnosis_text
    from longshore._limits import ResourceLimits as ResourceLimits
    from longshore._limits import ResourceType as ResourceType
    from longshore._limits import WorkerConfig as WorkerConfig
    from longshore._limits import WorkerScaling as WorkerScaling
    from longshore._loads import HostSize as HostSize
    from longshore._loads import required_share as required_share
    from longshore._pipelines import PipelineRun as PipelineRun
    from longshore._pipelines import PipelineStream as PipelineStream
    from longshore._pipelines import StageProgress as StageProgress
    from longshore._runtime.handles import Handle as Handle
    from longshore._runtime.stream import Stream as Stream
    from longshore._submit import Submitter as Submitter
    from longshore._track import track as track
    from longshore.catalogue import CATALOGUE as CATALOGUE
    from longshore.catalogue import EVENTS_VERSION as EVENTS_VERSION
    from longshore.catalogue import events_schema as events_schema
    from longshore.cgroups import ControlGroup as ControlGroup
    from longshore.cgroups import ControlGroups as ControlGroups
    from longshore.cgroups import usable_memory_bytes as usable_memory_bytes
    from longshore.errors import DocumentError as DocumentError
    from longshore.errors import JournalError as JournalError
    from longshore.errors import LongshoreError as LongshoreError
    from longshore.errors import MemoryLimitExceeded as MemoryLimitExceeded
    from longshore.errors import OutcomeUnknown as OutcomeUnknown
    from longshore.errors import PayloadError as PayloadError
    from longshore.errors import PluginError as PluginError
    from longshore.errors import PoisonTask as PoisonTask
    from longshore.errors import PoolNotRunning as PoolNotRunning
    from longshore.errors import QueueFull as QueueFull
    from longshore.errors import ResourceError as ResourceError
    from longshore.errors import ResourceUnavailable as ResourceUnavailable
    from longshore.errors import ResultNotReady as ResultNotReady
    from longshore.errors import SettingsError as SettingsError
    from longshore.errors import TaskCancelled as TaskCancelled
    from longshore.errors import TaskFailed as TaskFailed
    from longshore.errors import TaskNotFound as TaskNotFound
    from longshore.errors import TaskTimeout as TaskTimeout
    from longshore.errors import WorkerDied as WorkerDied
    from longshore.errors import WorkerNotReady as WorkerNotReady
    from longshore.errors import WrongPlace as WrongPlace
    from longshore.events import Event as Event
    from longshore.futures import BrokenPool as BrokenPool
    from longshore.futures import PoolExecutor as PoolExecutor
    from longshore.logs import TaskLogFilter as TaskLogFilter
    from longshore.monitor import Availability as Availability
    from longshore.monitor import ResourceMonitor as ResourceMonitor
    from longshore.pipeline import Pipeline as Pipeline
    from longshore.pipeline import PipelineLimits as PipelineLimits
    from longshore.pipeline import PipelineResult as PipelineResult
    from longshore.pipeline import PlannedStage as PlannedStage
    from longshore.pipeline import Stage as Stage
    from longshore.pool import WorkerPool as WorkerPool
    from longshore.processor import ProcessorContext as ProcessorContext
    from longshore.processor import ProcessorHealth as ProcessorHealth
    from longshore.processor import ProcessorMetadata as ProcessorMetadata
    from longshore.processor import ProcessorResult as ProcessorResult
    from longshore.progress import PipelineProgress as PipelineProgress
    from longshore.progress import ProgressTracker as ProgressTracker
    from longshore.progress import TaskProgress as TaskProgress
    from longshore.records import Alert as Alert
    from longshore.records import Health as Health
    from longshore.records import LeftBehind as LeftBehind
    from longshore.records import MetricsPoint as MetricsPoint
    from longshore.records import PoolStats as PoolStats
    from longshore.records import ResourceSnapshot as ResourceSnapshot
    from longshore.records import RunHistory as RunHistory
    from longshore.records import RunSnapshot as RunSnapshot
    from longshore.records import RunSummary as RunSummary
    from longshore.records import StackTrace as StackTrace
    from longshore.records import TaskRecord as TaskRecord
    from longshore.records import WorkerStats as WorkerStats
    from longshore.records import WorkerStatus as WorkerStatus
    from longshore.records import WorkerType as WorkerType
    from longshore.settings import ResultLimits as ResultLimits
    from longshore.settings import Settings as Settings
    from longshore.settings import load_settings as load_settings
    from longshore.shared import Shared as Shared
    from longshore.sync import SyncStream as SyncStream
    from longshore.sync import map as map
    from longshore.sync import outcomes as outcomes
    from longshore.sync import starmap as starmap
    from longshore.task import CircuitBreaker as CircuitBreaker
    from longshore.task import ErrorRecord as ErrorRecord
    from longshore.task import Outcome as Outcome
    from longshore.task import Priority as Priority
    from longshore.task import ProcessorPriority as ProcessorPriority
    from longshore.task import Resources as Resources
    from longshore.task import RetryPolicy as RetryPolicy
    from longshore.task import Task as Task
    from longshore.task import TaskOptions as TaskOptions
    from longshore.task import TaskState as TaskState
    from longshore.worker import CurrentTask as CurrentTask
    from longshore.worker import current_task as current_task

_ERRORS = (
    "DocumentError JournalError LongshoreError MemoryLimitExceeded OutcomeUnknown PayloadError PluginError PoisonTask "
    "PoolNotRunning QueueFull ResourceError ResourceUnavailable ResultNotReady SettingsError TaskCancelled TaskFailed "
    "TaskNotFound TaskTimeout WorkerDied WorkerNotReady WrongPlace"
)
_RECORDS = (
    "Alert Health LeftBehind MetricsPoint PoolStats ResourceSnapshot RunHistory RunSnapshot RunSummary StackTrace "
    "TaskRecord WorkerStats WorkerStatus WorkerType"
)
_HOMES = {
    "longshore._cpus": "usable_cpus",
    "longshore._delivery": "EventBus",
    "longshore._diagnosis": "Diagnosis",
    "longshore._diagnosis_signal": "install_diagnostics",
    "longshore._diagnosis_text": "diagnosis_text",
    "longshore._limits": "ResourceLimits ResourceType WorkerConfig WorkerScaling",
    "longshore._loads": "HostSize required_share",
    "longshore._pipelines": "PipelineRun PipelineStream StageProgress",
    "longshore._runtime.handles": "Handle",
    "longshore._runtime.stream": "Stream",
    "longshore._submit": "Submitter",
    "longshore._track": "track",
    "longshore.catalogue": "CATALOGUE EVENTS_VERSION events_schema",
    "longshore.cgroups": "ControlGroup ControlGroups usable_memory_bytes",
    "longshore.errors": _ERRORS,
    "longshore.events": "Event",
    "longshore.futures": "BrokenPool PoolExecutor",
    "longshore.logs": "TaskLogFilter",
    "longshore.monitor": "Availability ResourceMonitor",
    "longshore.pipeline": "Pipeline PipelineLimits PipelineResult PlannedStage Stage",
    "longshore.pool": "WorkerPool",
    "longshore.processor": "ProcessorContext ProcessorHealth ProcessorMetadata ProcessorResult",
    "longshore.progress": "PipelineProgress ProgressTracker TaskProgress",
    "longshore.records": _RECORDS,
    "longshore.settings": "ResultLimits Settings load_settings",
    "longshore.shared": "Shared",
    "longshore.sync": "SyncStream map outcomes starmap",
    "longshore.task": "CircuitBreaker ErrorRecord Outcome Priority ProcessorPriority Resources RetryPolicy Task "
    "TaskOptions TaskState",
    "longshore.worker": "CurrentTask current_task",
}
_MODULES = (
    "batching catalogue cgroups chaos errors events futures hookspecs keeping logs monitor pickling pipeline plugins "
    "pool processor progress records runs settings shared sync task testing worker"
)
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    """Load a public name from its home."""
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("longshore-core")
    if name in _MODULES.split():  # as in `longshore.futures.PoolExecutor`, after nothing but `import longshore`
        return importlib.import_module(f"longshore.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'longshore' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names and modules."""
    return [*__all__, *_MODULES.split(), "__version__"]
