"""When a run will be over, as a range: counts, rates and ages in, seconds out; called by the snapshot.

No count predicts the one document that takes two thirds of all the time, so one number would be a lie. With w tasks
that wait, r that run at ages a, and X the durations measured so far, the range spans

    low  = max(w / fastest rate / (1 + doubt), the longest over a of the 5 % quantile of X - a, given X > a)
    high = max(left / slowest rate * (1 + doubt) + tail, the longest over a of the 95 % quantile of X - a, given X > a)

where the rates are the recent and the overall one and doubt is 1.64 * variation(X) * sqrt(1/left + 1/ended). The tail
is what the longest of the waiting tasks takes beyond its share: the duration that all w are within in 95 % of cases,
less mean(X) / r. Where X has not seen enough cases to say, the longest seen is drawn out by a power, (cases needed /
cases seen) ** p, with p the mean logarithm by which the longest tenth of X and the ages is beyond its shortest, at
most 1. So is the age of a task that fewer than five of X were longer than, by the p of X alone; and it may always take
as long again. Low and high are 0 once nothing is left. In simulated runs on four workers seven to nine ranges of ten
hold the truth; with tasks so uneven that the first to end tell little of the others (tests/properties), fewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt

from longshore._sketch import Ranked, Sketch

MIN_ENDED = 5
"""With fewer ended tasks nothing is said."""
AGES_MOST = 50
"""The ages of so many of the oldest tasks are looked at."""
_SPREADS = 1.64  # standard deviations to each side: 90 % of cases, were the durations drawn anew each time
_UNLIKELY = 0.05
_TOP = 0.1
_FEW = 5  # with fewer durations beyond an age, they say little of how long it will still take


def remaining_s(
    *,
    left: int,
    ended: int,
    elapsed_s: float,
    recent_per_s: float,
    running: int,
    ages_s: Sequence[float],
    durations: Sketch,
) -> tuple[float, float] | None:
    """Return the least and the most seconds that `left` tasks will likely take; None where nobody can know.

    `elapsed_s` counts from the start of the first task, `recent_per_s` is the rate of the last seconds; `running` of
    the `left` run now, the oldest of them for `ages_s`.
    """
    if left <= 0:
        return 0.0, 0.0
    if ended < MIN_ENDED or elapsed_s <= 0:
        return None
    overall = ended / elapsed_s
    rates = (overall, recent_per_s) if recent_per_s > 0 else (overall,)
    doubt = _SPREADS * durations.variation * sqrt(1.0 / left + 1.0 / ended)
    waiting = max(0, left - running)
    seen, still = durations.ranked(), [(0.0, 0.0)]
    power = _power(seen)
    still += [_still_s(seen, age, power) for age in ages_s]
    low = waiting / max(rates) / (1.0 + doubt)
    high = left / min(rates) * (1.0 + doubt)
    if waiting:
        longest = _longest_s(seen, ages_s, waiting)
        high += max(0.0, longest - durations.mean / max(1, running))
    return max(low, *(least for least, _ in still)), max(high, *(most for _, most in still))


def _still_s(seen: Ranked, age_s: float, power: float) -> tuple[float, float]:
    """Return the least and the most seconds that a task of this age will likely take."""
    drawn_out = max(age_s, age_s * (_UNLIKELY**-power - 1.0))
    least = seen.quantile(_UNLIKELY, beyond=age_s)
    most = seen.quantile(1.0 - _UNLIKELY, beyond=age_s)
    if least is None or most is None:
        return 0.0, drawn_out
    few = seen.count(beyond=age_s) < _FEW
    return least - age_s, max(most - age_s, drawn_out) if few else most - age_s


def _longest_s(seen: Ranked, ages_s: Sequence[float], waiting: int) -> float:
    """Return the seconds that none of the waiting tasks takes longer than, in all but the unlikely cases."""
    cases, needed = seen.count(beyond=-1.0) + len(ages_s), waiting / _UNLIKELY
    if cases >= needed:
        return seen.quantile(1.0 - 1.0 / needed) or 0.0
    longest = max([seen.quantile(1.0) or 0.0, *ages_s])
    return float(longest * (needed / max(1, cases)) ** _power(seen, ages_s))


def _power(seen: Ranked, ages_s: Sequence[float] = ()) -> float:
    """Return how fast the longest grows with the number of tasks: 0 where all are even, 1 for the heaviest tail."""
    from_s = seen.quantile(1.0 - _TOP)
    if not from_s:
        return 0.0
    aged = [log(age / from_s) for age in ages_s if age > from_s]
    cases = seen.count(beyond=from_s) + len(aged)
    return min(1.0, (seen.logs(beyond=from_s) + sum(aged)) / cases) if cases else 0.0
