"""How long results are kept, and what is said of those that are not any more; how large a value is taken to be."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass

import pytest
from longshore._runtime.results import ResultStore
from longshore._runtime.sizes import size_of
from longshore.errors import TaskNotFound
from longshore.task import Resources


def store_of(*, keep_s: float = 100.0, max_count: int = 10, max_bytes: float = 10_000.0) -> ResultStore[str]:
    return ResultStore(keep_s=keep_s, max_count=max_count, max_bytes=max_bytes)


def put(store: ResultStore[str], count: int, now: float = 0.0, size_bytes: int = 10) -> list[str]:
    """Let so many tasks come and end."""
    ids = [store.issue("run") for _ in range(count)]
    for task_id in ids:
        store.add(task_id, task_id.upper())
        store.ended(task_id, now, size_bytes)
    return ids


def held(store: ResultStore[str], ids: list[str], now: float = 0.0) -> list[str]:
    """Return those of the ids whose entry is still there."""
    there = list(store)
    for task_id in ids:
        if task_id.upper() not in there:
            with pytest.raises(TaskNotFound, match="expired") as caught:
                store.get(task_id, now)
            assert caught.value.facts["reason"] == "expired"
    return [task_id for task_id in ids if task_id.upper() in there and store.get(task_id, now)]


@pytest.mark.requirement("req:D12")
def test_unread_results_are_not_dropped_for_their_number() -> None:
    """However many nobody has read, all stay; once they are read, the count is a bound, oldest reading first."""
    store = store_of(max_count=10)
    ids = put(store, 50)
    assert held(store, ids) == ids
    for task_id in ids:
        store.read(task_id, 1.0)
    assert held(store, ids, 1.0) == ids[-10:]
    store.read(ids[-10], 2.0)
    newest = put(store, 1, 2.0)
    assert held(store, [ids[-10], ids[-9], *newest], 2.0) == [ids[-10], *newest]


@pytest.mark.requirement("req:D12")
def test_a_result_expires_by_its_age() -> None:
    """It is kept for `keep_s` after its end, or after its last reading, and not longer."""
    store = store_of(keep_s=100.0)
    unread, read = put(store, 2)
    store.read(read, 60.0)
    assert held(store, [unread, read], 99.0) == [unread, read]
    with pytest.raises(TaskNotFound, match="expired"):
        store.get(unread, 100.0)
    assert held(store, [unread, read], 100.0) == [read]
    with pytest.raises(TaskNotFound, match="expired"):
        store.get(read, 160.0)
    assert len(store) == 0
    assert store.held_bytes == 0


@pytest.mark.requirement("req:D12")
def test_the_bytes_bound_holds_for_unread_results_too(caplog: pytest.LogCaptureFixture) -> None:
    """Above it those that were read go first, then the oldest; dropping one that nobody has read is warned of once."""
    store = store_of(max_bytes=100.0)
    ids = put(store, 10)
    store.read(ids[7], 0.0)
    with caplog.at_level(logging.WARNING, "longshore.pool"):
        more = put(store, 1)
        assert held(store, [*ids, *more]) == [*ids[:7], *ids[8:], *more]
        assert caplog.records == []
        more += put(store, 3)
    assert held(store, [*ids, *more]) == [*ids[3:7], *ids[8:], *more]
    assert store.dropped_unread == 3
    assert len(caplog.records) == 1
    assert "results.max_mb" in caplog.text
    assert held(store, put(store, 1, size_bytes=1000)) == []


@pytest.mark.requirement("req:D12")
def test_an_id_that_was_never_given_out_is_not_said_to_have_expired() -> None:
    """Unknown and expired are told apart for good, and nothing is kept of ids for that."""
    store = store_of(keep_s=1.0)
    put(store, 1000)
    with pytest.raises(TaskNotFound, match="expired"):
        store.get("run-t3e7", 1.0)
    for unknown in ("run-t3e8", "run-t03", "run-tx", "other-t0", "run-t-1", "run-t", ""):
        with pytest.raises(TaskNotFound, match="there is no task") as caught:
            store.get(unknown, 1.0)
        assert isinstance(caught.value, LookupError)


@pytest.mark.requirement("req:D13")
def test_what_has_not_ended_stays_whatever_its_age() -> None:
    """A task that goes on is held without a bound of time, and leaves the live ones at its end."""
    store = store_of(keep_s=1.0, max_count=1, max_bytes=1.0)
    task_id = store.issue("run")
    store.add(task_id, "going on")
    store.read(task_id, 0.0)
    assert store.get(task_id, 1e6) == "going on"
    store.ended(task_id, 1e6, 0)
    store.ended(task_id, 1e6, 0)
    assert (store.live, list(store)) == ({}, ["going on"])


def test_entries_come_newest_first() -> None:
    """First those that go on, then those that nobody has read, then the others."""
    store = store_of()
    read, *unread = put(store, 3)
    store.read(read, 0.0)
    live = [store.issue("run") for _ in range(2)]
    for task_id in live:
        store.add(task_id, task_id.upper())
    assert list(store) == [task_id.upper() for task_id in (*reversed(live), *reversed(unread), read)]


@dataclass
class Page:
    """A user's own record."""

    text: str


class Slotted:
    """A user's own record, with slots."""

    __slots__ = ("missing", "text")

    def __init__(self, text: str) -> None:
        self.text = text


class Array:
    """What says how large its buffer is."""

    nbytes = 10_000_000


class Rude(list[int]):
    """What raises when it is looked at."""

    def __iter__(self) -> None:  # type: ignore[override]
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "value",
    [
        "x" * 100_000,
        b"x" * 100_000,
        {"a": ["x" * 50_000, "y" * 50_000]},
        [("x" * 1000,) for _ in range(100)],
        Page("x" * 100_000),
        Slotted("x" * 100_000),
        Resources(custom={"x" * 100_000: 1.0}),
        deque(["x" * 1000] * 100),
        dict.fromkeys(range(100), "x" * 1000),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_as_large_as_what_it_holds(value: object) -> None:
    """The size is near what the contents take, however they are packed."""
    assert 90_000 < size_of(value) < 150_000


def test_odd_values_have_a_size_too() -> None:
    """Nothing that a user returns can make sizing fail, go on for ever, or miss a large buffer."""
    ring: list[object] = []
    ring.append(ring)
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]
    assert 0 < size_of(ring) < 10_000
    assert 0 < size_of(deep) < 10_000
    assert size_of(Rude()) > 0
    assert size_of([Array()]) >= 10_000_000
    assert size_of([list(range(100)) for _ in range(10_000)]) > 5_000_000
