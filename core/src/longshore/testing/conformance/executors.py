"""What every executor keeps, as far as its capabilities go."""

from __future__ import annotations

from longshore.testing.conformance._executor_life import LifeConformance
from longshore.testing.conformance._executor_limits import LimitConformance
from longshore.testing.conformance._executor_tasks import TaskConformance
from longshore.testing.conformance._executor_workers import WorkerConformance


class ExecutorConformance(TaskConformance, LimitConformance, WorkerConformance, LifeConformance):
    """Inherit this, and return by the fixture `make_executor` what makes an executor that is not started.

    One that works on a cluster connects to one that is there, which a fixture of the session has started. `workers` is
    how many each test asks for, `patience_s` how long it waits for what is bound to come.
    """


__all__ = ["ExecutorConformance"]
