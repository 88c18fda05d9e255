"""The room that watches: pure folds of events into counts, rates, records of tasks, statistics and an ETA."""

from longshore._sketch import Sketch
from longshore._tracking.fold import RunFold

__all__ = ["RunFold", "Sketch"]
