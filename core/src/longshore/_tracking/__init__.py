"""The room that watches: pure folds of events into counts, rates, records of tasks, statistics and an ETA."""

from longshore._tracking.fold import RunFold
from longshore._tracking.sketch import Sketch

__all__ = ["RunFold", "Sketch"]
