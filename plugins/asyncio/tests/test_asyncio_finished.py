"""What ends on the loop is reported in columns as far as it ends in order, and otherwise record by record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from longshore.task import Attempt, Outcome, TaskSpec, TaskState
from longshore.worker import AttemptColumns, OutcomeColumns, failed
from longshore_asyncio._finished import Finished


async def work(number: int) -> int:
    """Stand for a user's coroutine."""
    return number


SPEC = TaskSpec(function=work, name="work", executor="asyncio")


def columns(count: int, first: int = 0) -> AttemptColumns:
    return AttemptColumns(SPEC, [f"t{first + n}" for n in range(count)], [(n,) for n in range(count)], first, 1.0)


def complete(finished: Finished, attempt: Attempt, value: Any = None) -> None:  # Any: a result
    """Do what the executor does where an attempt completed."""
    finished.complete(attempt, value, 2.0, 2.5, f"w{attempt.index}")


def told(parts: Sequence[Sequence[Outcome]]) -> list[tuple[str, Any, str | None]]:  # Any: as above
    return [(outcome.task_id, outcome.value, outcome.worker) for part in parts for outcome in part]


@pytest.mark.parametrize("taken_at", [0, 1, 10, 19, 30])
def test_those_that_end_in_order_are_columns_whenever_they_are_taken(taken_at: int) -> None:
    """Over two parts of a stream every outcome is told once, in order, with its value and worker."""
    finished, parts = Finished(), [columns(20), columns(20, first=20)]
    for part in parts:
        finished.expect(part)
    out: list[Sequence[Outcome]] = []
    for attempt in [*parts[0], *parts[1]]:
        if attempt.index == taken_at:
            out += finished.take()
        complete(finished, attempt, attempt.index)
    assert len(finished) == 40 - taken_at
    out += finished.take()
    assert told(out) == [(f"t{n}", n, f"w{n}") for n in range(40)]
    assert any(type(part) is OutcomeColumns for part in out)
    assert finished.take() == []


def test_those_that_end_out_of_order_are_told_once_each() -> None:
    """Backwards, with failures between, of parts that are forgotten: no outcome is lost, doubled or mixed up."""
    finished, part = Finished(), columns(60)
    finished.expect(part)
    for attempt in reversed(part):
        if attempt.index % 7 == 3:
            finished.append(failed(attempt, ValueError("no"), 2.0, 2.5, "w"))
        else:
            complete(finished, attempt, -attempt.index)
    ends = {outcome.index: outcome for chunk in finished.take() for outcome in chunk}
    assert sorted(ends) == list(range(60))
    assert all(ends[n].state is TaskState.FAILED for n in range(3, 60, 7))
    assert all(ends[n].value == -n for n in range(60) if n % 7 != 3)
    finished.forget()
    complete(finished, part[5], "late")
    assert told(finished.take()) == [("t5", "late", "w5")]


@pytest.mark.parametrize("last", [18, 19])
def test_a_run_ends_where_its_part_does(last: int) -> None:
    """One that begins with the last of a part does not go on into the next part of the stream."""
    finished, parts = Finished(), [columns(20), columns(20, first=20)]
    for part in parts:
        finished.expect(part)
    for attempt in [*parts[0][last:], *parts[1]]:
        complete(finished, attempt, attempt.index)
    assert told(finished.take()) == [(f"t{n}", n, f"w{n}") for n in range(last, 40)]


def test_streams_side_by_side_are_not_mixed_up() -> None:
    """Attempts of two specs with the same indexes end in turn: each is told under its own name."""
    other = TaskSpec(function=work, name="other", executor="asyncio")
    ours, theirs = columns(10), AttemptColumns(other, [f"o{n}" for n in range(10)], [(n,) for n in range(10)], 0, 1.0)
    finished = Finished()
    finished.expect(ours)
    finished.expect(theirs)
    for one, two in zip(ours, theirs, strict=True):
        complete(finished, one, "ours")
        complete(finished, two, "theirs")
    outcomes = [outcome for chunk in finished.take() for outcome in chunk]
    assert {(o.task_id[0], o.name, o.value) for o in outcomes} == {("t", "work", "ours"), ("o", "other", "theirs")}
    assert len(outcomes) == 20
