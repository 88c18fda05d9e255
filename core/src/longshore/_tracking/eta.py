"""When a run will be over, as a range: counts and rates in, seconds out; called by the snapshot.

No count predicts the one document that takes two thirds of all the time, so one number would be a lie: the
range spans what the recent and the overall rate say, widened by how much the durations measured so far differ.
"""

from __future__ import annotations

from math import sqrt

from longshore._tracking.sketch import Sketch

MIN_ENDED = 5
"""With fewer ended tasks nothing is said."""
_SPREADS = 1.64  # standard deviations to each side: 90 % of cases, were the durations drawn anew each time


def remaining_s(
    *, left: int, ended: int, elapsed_s: float, recent_per_s: float, parallel: int, durations: Sketch
) -> tuple[float, float] | None:
    """Return the least and the most seconds that `left` tasks will likely take; None where nobody can know.

    `elapsed_s` counts from the start of the first task, `recent_per_s` is the rate of the last seconds,
    `parallel` how many tasks run at a time.
    """
    if left <= 0:
        return 0.0, 0.0
    if ended < MIN_ENDED or elapsed_s <= 0:
        return None
    overall = ended / elapsed_s
    rates = (overall, recent_per_s) if recent_per_s > 0 else (overall,)
    doubt = _SPREADS * durations.variation * sqrt(1.0 / left + 1.0 / ended)
    low = left / max(rates) / (1.0 + doubt)
    high = left / min(rates) * (1.0 + doubt) + _tail_s(durations, parallel)
    return low, high


def _tail_s(durations: Sketch, parallel: int) -> float:
    """Return how long the last tasks may keep a few workers busy while the others have nothing left to do."""
    slow = durations.quantile(0.95)
    return slow * (1.0 - 1.0 / parallel) if slow is not None and parallel > 1 else 0.0
