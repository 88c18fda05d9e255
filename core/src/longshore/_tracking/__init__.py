"""The room that watches: pure folds of event batches into counts, rates, the slowest tasks and an ETA."""

from longshore._tracking.fold import RunFold
from longshore._tracking.sketch import Sketch

__all__ = ["RunFold", "Sketch"]
