"""A run to look at, while it goes on or long after: for pages, reports and tables.

`RunStore` takes in events and answers what views ask: stages, tasks by pages, failures by group, workers, a timeline.
`RecordedRun` gives the events of a run back from its journal, so that one view serves for both.
"""

from longshore.runs._recorded import RecordedRun, submitted_at
from longshore.runs._store import RunStore
from longshore.runs._views import (
    SORTS,
    STATES,
    AttemptRow,
    Bar,
    Bin,
    By,
    FailureView,
    StageView,
    TaskDetail,
    TaskFilter,
    TaskPage,
    TaskRow,
    Throughput,
    Timeline,
    WorkerView,
)

__all__ = [
    "SORTS",
    "STATES",
    "AttemptRow",
    "Bar",
    "Bin",
    "By",
    "FailureView",
    "RecordedRun",
    "RunStore",
    "StageView",
    "TaskDetail",
    "TaskFilter",
    "TaskPage",
    "TaskRow",
    "Throughput",
    "Timeline",
    "WorkerView",
    "submitted_at",
]
