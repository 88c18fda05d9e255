"""What is recommended follows from the figures: tables of them in, an executor, workers and inputs a call out."""

from __future__ import annotations

import pytest
from longshore._bench_advice import Advice, Cell, Cost, Spread, advise, items_per_call, pays, worker_counts

US, MS = 1e-6, 1e-3
COSTS = {
    "asyncio": Cost(executor="asyncio", stream_s=4 * US, p50_s=50 * US, p99_s=90 * US),
    "threads": Cost(executor="threads", stream_s=2 * US, p50_s=60 * US, p99_s=100 * US),
    "processes": Cost(executor="processes", stream_s=3 * US, p50_s=120 * US, p99_s=300 * US),
}


def cell(executor: str, workers: int, per_s: float, *, ran_s: float = MS, noise: float = 0.01, **more: object) -> Cell:
    """Return a cell with this rate, and rounds that differ by so much."""
    rates = Spread(per_s, per_s * (1 - noise), per_s * (1 + noise))
    return Cell(**{"executor": executor, "workers": workers, "per_s": rates, "ran_s": ran_s, "tasks": 100, **more})


def advice(*cells: Cell) -> Advice:
    """Return the advice, which there has to be."""
    found = advise(cells, COSTS)
    assert found is not None
    return found


def said(found: Advice, words: str) -> bool:
    """Tell whether one of the reasons has these words."""
    return any(words in reason for reason in found.reasons)


def test_work_that_computes_is_sent_to_processes_on_all_cores() -> None:
    """Processes that do twice as much as threads are recommended, with as many workers as still bring something."""
    found = advice(
        cell("threads", 1, 1000, cpu_s=MS),
        cell("threads", 2, 980, cpu_s=MS),
        cell("processes", 1, 970, cpu_s=MS),
        cell("processes", 2, 1900, cpu_s=MS),
        cell("processes", 4, 1850, cpu_s=MS),
    )
    assert (found.executor, found.workers, found.items_per_call) == ("processes", 2, 1)
    assert said(found, "processes does 1.9 times as much as threads: 1,900 tasks a second against 1,000")
    assert said(found, "it computes (a task takes 1 ms, 1 ms of it CPU)")
    assert said(found, "more bring little or nothing: 4 do 0.97 times as much as 2")


def test_work_that_waits_stays_in_threads_with_more_workers_than_cores() -> None:
    """Where both do the same, the simpler one is recommended, and what it cannot do is said."""
    found = advice(
        cell("threads", 2, 400, ran_s=5 * MS, cpu_s=0.1 * MS),
        cell("threads", 16, 3000, ran_s=5 * MS, cpu_s=0.1 * MS),
        cell("threads", 32, 3100, ran_s=5 * MS, cpu_s=0.1 * MS),
        cell("processes", 16, 3050, ran_s=5 * MS, cpu_s=0.1 * MS),
    )
    assert (found.executor, found.workers) == ("threads", 16)
    assert said(found, "threads does about as much as processes, and is the simpler one")
    assert said(found, "it mostly waits")
    assert said(found, "a thread can't be stopped: take processes for work that may hang")


def test_short_tasks_are_to_do_several_inputs_a_call() -> None:
    """Where a task is shorter than what it costs to hand it over, a call is to do more: of the series 1, 2, 5, 10."""
    found = advice(cell("processes", 2, 300_000, ran_s=5 * US, sent_at_once=400.0))
    assert found.items_per_call == 50  # 3 us / (5 % of 5 us / 2) = 24
    assert said(found, "let each call do 50 inputs: handing a task over costs 3 us, the task takes 5 us")
    assert said(found, "sent to a worker together by themselves, 400 at a time here")


@pytest.mark.parametrize(
    ("ran_s", "workers", "items"),
    [(MS, 1, 1), (30 * US, 1, 1), (29 * US, 1, 5), (MS, 64, 5), (1e-9, 1, 10_000), (0.0, 1, 10_000)],
)
def test_inputs_a_call_follow_from_what_workers_leave_of_the_time(ran_s: float, workers: int, items: int) -> None:
    """The more workers share the tasks, the more handing them over weighs; there is an upper end."""
    assert items_per_call(cell("processes", workers, 1.0, ran_s=ran_s), COSTS["processes"]) == items


def test_what_failed_everywhere_is_not_recommended() -> None:
    """An executor in which every task failed is no choice, and without any other there is no advice."""
    failed = cell("processes", 2, 9000, failed=100)
    assert advice(failed, cell("threads", 2, 100)).executor == "threads"
    assert advise([failed], COSTS) is None
    some = advice(cell("threads", 2, 100, failed=3, error="ValueError: no"))
    assert said(some, "3 of 100 tasks failed, and were counted all the same: ValueError: no")


def test_of_the_shortest_tasks_nobody_says_whether_they_compute() -> None:
    """Where reading the clocks is most of what they show, the advice keeps quiet about it."""
    assert not said(advice(cell("processes", 2, 1e6, ran_s=US, cpu_s=US)), "computes")
    assert said(advice(cell("processes", 2, 1e4, ran_s=100 * US, cpu_s=90 * US)), "it computes")


def test_figures_that_rounds_contradict_are_told_as_doubtful() -> None:
    """Where the rounds of two executors overlap although their medians are apart, the advice says so."""
    noisy = advice(cell("threads", 2, 1000, noise=0.3), cell("processes", 2, 1300, noise=0.3))
    assert said(noisy, "the rounds differ by more than processes and threads do")
    assert not said(advice(cell("threads", 2, 1000), cell("processes", 2, 1300)), "the rounds differ")


def test_tasks_that_limits_held_back_are_told_of() -> None:
    """What ran under a limit says little of the work: the reason is given, and what to do about it."""
    found = advice(cell("threads", 2, 1000, held=0.4, held_because="cpu 91 of 80 %"), cell("threads", 1, 500))
    assert said(found, "for 40% of the time with threads x 2 (cpu 91 of 80 %): measure again")
    assert not said(advice(cell("threads", 2, 1000, held=0.01)), "held tasks back")


def test_more_workers_than_were_tried_are_not_called_useless() -> None:
    """If the highest count is the best, the advice says that more were not tried."""
    assert said(advice(cell("threads", 1, 100), cell("threads", 8, 700)), "more than 8 were not tried")


def test_the_counts_to_try_double_up_to_the_last() -> None:
    """1, 2, 4 and so on, and the last one whatever it is; the same for an upper end that was asked for."""
    assert [worker_counts(cpus) for cpus in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]
    assert worker_counts(2, most=5) == [1, 2, 4, 5]
    assert worker_counts(64, most=1) == [1]


def test_more_is_tried_only_while_the_last_doubling_paid() -> None:
    """After 1 always, then while twice the workers did a third more."""
    assert pays([cell("threads", 1, 100)])
    assert pays([cell("threads", 1, 100), cell("threads", 2, 131)])
    assert not pays([cell("threads", 1, 100), cell("threads", 2, 110)])
