"""The memory that a worker shares with its controller: what is written there is read back, in order, and only once."""

from __future__ import annotations

import os
import pickle
import random
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from longshore_processes import bays
from longshore_processes.backlog import BATCH_ITEMS
from longshore_processes.bays import PACKED, PICKLE, SLOTS, Bay, Memory, make_memory, read_records
from longshore_processes.codec import dump_onto, dump_plain_onto, load

MIB = 1 << 20
VALUES: list[Any] = [
    0,
    -1,
    2**63 - 1,
    -(2**63),
    2**63,
    -(2**200),
    1.5,
    float("inf"),
    True,
    False,
    None,
    "",
    "é\udc80",
    b"",
]
VALUES += ["x" * 4096, b"\x00" * 4096]


@pytest.fixture
def sides() -> Iterator[tuple[Bay, Bay]]:
    """Return one bay as its worker and as its controller see it."""
    fd = make_memory()
    try:
        worker, controller = Memory(fd), Memory(fd)
    finally:
        os.close(fd)
    yield worker.bays[1], controller.bays[1]
    worker.close()
    controller.close()


def write(bay: Bay, values: list[Any]) -> None:
    for slot, value in enumerate(values):
        write_one(bay, slot, value)
        bay.starts[slot], bay.ends[slot] = slot + 0.25, slot + 0.5


def write_one(bay: Bay, slot: int, value: Any) -> None:
    if type(value) is dict:
        assert bay.put(slot, pickle.dumps(value), PICKLE) is None
    elif type(value) is not int:
        assert bay.note(slot, value)
    elif value.bit_length() < 64:
        bay.words[slot] = value
    else:
        assert bay.put(slot, value) is None


def expected(values: list[Any]) -> list[Any]:
    return [(PACKED, None, None, pickle.dumps(value)) if type(value) is dict else value for value in values]


@pytest.mark.parametrize(
    "values",
    [[value] * 3 for value in VALUES] + [VALUES, [{"a": 1}] * 3, [1.5, *VALUES, {"a": 1}, *VALUES, 2]],
    ids=lambda values: f"{len(values)} {type(values[0]).__name__}",
)
def test_what_is_written_is_read(sides: tuple[Bay, Bay], values: list[Any]) -> None:
    """Results come back equal and of their types, with their times, read at once or bit by bit, batch after batch."""
    worker, controller = sides
    for size in (len(values), 2, 1):
        controller.begin()
        worker.run(len(values))
        write(worker, values)
        taken: list[Any] = []
        for start in range(0, len(values), size):
            stop = min(start + size, len(values))
            given, starts, ends = controller.take(start, stop)
            assert starts == [slot + 0.25 for slot in range(start, stop)]
            assert ends == [slot + 0.5 for slot in range(start, stop)]
            taken += given
        assert taken == expected(values)
        assert list(map(type, taken)) == list(map(type, expected(values)))


def test_what_finds_no_room_is_given_back(sides: tuple[Bay, Bay]) -> None:
    """A full bay still takes small records for each of its slots; larger ones are handed back, to be sent."""
    worker, controller = sides
    controller.begin()
    worker.run(SLOTS)
    chance, values = random.Random(3), []
    for slot in range(SLOTS):
        text = "x" * chance.randrange(0, 4000)
        left = worker.put(slot, text)
        if left is not None:
            assert read_records(1, left) == [text]
            assert worker.put(slot, ()) is None
        values.append(text if left is None else ())
    assert () in values
    assert controller.take(0, SLOTS).values == values


def test_a_slot_that_is_written_again(sides: tuple[Bay, Bay]) -> None:
    """Where an exception comes between a result and its end, what is written next counts, and its neighbours stay."""
    worker, controller = sides
    controller.begin()
    worker.run(5)
    for slot, (first, last) in enumerate([("a", "bb"), (1, "c"), (1.5, "d"), (None, "e"), ("long" * 99, "f")]):
        write_one(worker, slot, first)
        assert worker.put(slot, last) is None
    assert controller.take(0, 5).values == ["bb", "c", "d", "e", "f"]


def test_pickles_on_a_shelf(sides: tuple[Bay, Bay]) -> None:
    """Pickles of any size come back whole; what is too large for the shelf is measured and not kept."""
    worker, controller = sides
    blob = bytes(range(256)) * 1024
    values = [blob, bytearray(blob), {"a": [blob, "é" * 70_000, 1]}, array("d", [1.5]), memory_of(blob)]
    spans = []
    for value in values:
        dump_onto(worker.large, value)
        span = worker.large.keep()
        assert span is not None
        spans.append(span)
    assert [load(controller.large.read(span)) for span in spans] == [*values[:4], bytearray(blob)]
    dump_onto(worker.large, [bytes(bays.ARENA_BYTES), blob])
    assert worker.large.size > bays.ARENA_BYTES + len(blob)
    assert worker.large.keep() is None
    assert load(controller.large.read(spans[0])) == blob


class Buffered:
    """Pickles as arrays do: a buffer that is not copied into the pickle."""

    def __init__(self, data: bytearray) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> Any:
        return bytearray, (pickle.PickleBuffer(self.data),)


def memory_of(blob: bytes) -> Buffered:
    return Buffered(bytearray(blob))


def test_only_plain_values_go_as_one(sides: tuple[Bay, Bay]) -> None:
    """A batch that holds anything but plain values is not written as one."""
    worker, _ = sides
    assert dump_plain_onto(worker.arguments, [(1, "a"), {"b": (2.5, None)}])
    assert not dump_plain_onto(worker.arguments, [1, Buffered(bytearray())])


def test_any_batch_fits() -> None:
    """A bay has a slot for each item that a batch may have."""
    assert BATCH_ITEMS <= SLOTS


@pytest.mark.slow
def test_memory_is_given_back(sides: tuple[Bay, Bay]) -> None:
    """Of what large objects took, 32 MiB stay; the rest is the system's again when the batch is over."""
    worker, controller = sides
    controller.begin()
    for shelf in (controller.arguments, worker.large):
        dump_onto(shelf, b"x" * (100 * MIB))
        assert shelf.keep() is not None
    controller.large.read((0, 100 * MIB))
    before = shared_mb()
    controller.trim()
    assert before - shared_mb() > 130


def shared_mb() -> float:
    """Return how much shared memory this process has in its mappings."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition("RssShmem:")[2].split()[0]) / 1024


def test_a_limit_on_files_leaves_less_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files may not be as large, bays have a smaller shelf, and in the end none; results have room always."""
    truncate = os.ftruncate

    def refuse(fd: int, size: int) -> None:
        if size > 4 << 20:
            raise OSError(27, "File too large")
        truncate(fd, size)

    monkeypatch.setattr(os, "ftruncate", refuse)
    fd = make_memory()
    memory = Memory(fd)
    os.close(fd)
    bay = memory.bays[0]
    dump_onto(bay.arguments, b"x" * 100)
    assert bay.arguments.keep() is None
    bay.run(1)
    assert bay.note(0, "text")
    memory.close()
