"""Large arguments and results: whole, the receiver's own, bounded, and never another task's."""

from __future__ import annotations

import io
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from longshore.errors import PayloadError
from longshore_processes import bays
from longshore_processes.executor import ProcessesSettings

pytestmark = pytest.mark.slow

KIB, MIB = 1 << 10, 1 << 20
MOST = 100_000


class Buffer:
    """Travels as arrays do: by a buffer of its own, beside the pickle."""

    def __init__(self, data: bytearray) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Buffer, (pickle.PickleBuffer(self.data),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Buffer) and bytes(other.data) == bytes(self.data)

    __hash__ = None  # type: ignore[assignment]


def pattern(size: int) -> bytes:
    """Return so many bytes of which no two long pieces are alike."""
    piece = b"".join(number.to_bytes(4, "big") for number in range(10_000))
    return b"".join([piece, *(bytes([turn % 256]) + piece for turn in range(size // len(piece)))])[:size]


KINDS: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "text": lambda data: data.decode("latin-1"),
    "bytearray": bytearray,
    "buffer": lambda data: Buffer(bytearray(data)),
    "nested": lambda data: {"a": [data, (bytearray(data),)]},
}


@pytest.mark.parametrize("size", [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 2 * MIB])
@pytest.mark.parametrize("kind", KINDS)
def test_sizes_around_every_border(lone_yard: Any, kind: str, size: int) -> None:
    """fault:S3 Values of any size come whole, both ways, the first of its function and those after it."""
    value = KINDS[kind](pattern(size))
    for outcome in lone_yard.run(lambda x: x, [value] * 4):
        assert outcome.unwrap() == value
        assert type(outcome.value) is type(value)


@pytest.mark.slow
def test_beyond_the_bay(lone_yard: Any) -> None:
    """fault:S3 What has no room in shared memory, alone or together with others, goes over the socket, both ways."""
    large = pattern(300 * MIB)
    [outcome] = lone_yard.run(lambda x: (len(x), x), [large])
    assert outcome.value == (len(large), large)
    parts = [large[:size] for size in (20 * MIB, 20 * MIB, 1, 20 * MIB, 100 * KIB)]
    for function in (lambda x: x, lambda x: [x]):
        for _ in range(2):
            assert [
                bytes(o.value[0] if type(o.value) is list else o.value) for o in lone_yard.run(function, parts)
            ] == parts


def test_results_are_the_callers_own(lone_yard: Any) -> None:
    """A result may be changed and kept: later tasks, whose results are written where it was, leave it as it is."""
    kept = [outcome.value for outcome in lone_yard.run(lambda x: Buffer(bytearray([x]) * MIB), list(range(10)))]
    for number, value in enumerate(kept):
        assert value.data == bytes([number]) * MIB
        value.data[0] = 255


def test_arguments_are_the_tasks_own(lone_yard: Any) -> None:
    """A task may change and keep what it is given; nobody else sees that, and nothing changes under its hands."""

    def work(x: Any) -> list[int]:
        kept = work.__dict__.setdefault("kept", [])
        kept.append(x)
        x.data[-1] = 255
        return [item.data[0] for item in kept]

    given = [Buffer(bytearray([x]) * MIB) for x in range(6)]
    values = [outcome.value for outcome in lone_yard.run(work, given)]
    assert values == [list(range(count + 1)) for count in range(6)]
    assert all(item.data[-1] == x for x, item in enumerate(given))


def lines_of_file() -> Any:
    return open(__file__)


def generator() -> Iterator[int]:
    yield 1


def endless() -> Any:
    made: list[Any] = [b"x" * (200 * KIB)]
    made.append(made)
    return made


ODD: dict[str, tuple[Callable[[], Any], Callable[[Any], bool] | None]] = {
    "generator": (generator, None),
    "open file": (lines_of_file, None),
    "raw file": (lambda: io.FileIO(__file__), None),
    "lambda": (lambda: lambda: 7, lambda value: value() == 7),
    "self-referential": (endless, lambda value: value[1] is value and len(value[0]) == 200 * KIB),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_results(lone_yard: Any, name: str) -> None:
    """fault:S3 A result that can travel comes as what it is, one that can't costs its task only."""
    make, is_right = ODD[name]
    outcomes = lone_yard.run(lambda x: make() if x == 2 else x, list(range(5)))
    assert [outcome.value for outcome in outcomes if outcome is not outcomes[2]] == [0, 1, 3, 4]
    if is_right is None:
        assert isinstance(outcomes[2].exception, PayloadError)
    else:
        assert is_right(outcomes[2].unwrap())


@pytest.mark.parametrize("kind", KINDS)
def test_too_large_results_fail_their_task(open_yard: Any, kind: str) -> None:
    """fault:S3 A result above `max_result_bytes` is its task's PayloadError, which names both sizes; others go on."""
    make = KINDS[kind]

    def work(size: int) -> Any:
        return make(bytes(size))

    with open_yard(1, ProcessesSettings(max_result_bytes=MOST)) as yard:
        sizes = [10, MOST // 4, 10 * MOST, 20, 400 * MOST, MOST // 4]
        outcomes = yard.run(work, sizes)
        assert [outcome.ok for outcome in outcomes] == [True, True, False, True, False, True]
        for index in (2, 4):
            error = outcomes[index].exception
            assert type(error) is PayloadError
            assert error.facts["limit_bytes"] == MOST
            assert error.facts["size_bytes"] >= sizes[index]
            assert f"{error.facts['size_bytes']:,}" in str(error)
            assert f"{MOST:,}" in str(error)
        assert len({outcome.worker for outcome in outcomes if outcome.ok}) == 1


def test_small_limits_hold_for_small_results(open_yard: Any) -> None:
    """A limit of a few bytes is kept for texts and objects, in time and long ones; numbers are smaller than any."""
    with open_yard(1, ProcessesSettings(max_result_bytes=50)) as yard:
        outcomes = yard.run(lambda x: x, [1, None, "a" * 10, "a" * 60, [1, 2], list(range(100)), 2**1000, 1.5])
        assert [outcome.ok for outcome in outcomes] == [True, True, True, False, True, False, False, True]


@pytest.mark.slow
@pytest.mark.parametrize("room", ["bay", "socket"])
@pytest.mark.parametrize("when", ["result", "argument"])
def test_killed_at_any_moment_of_a_large_payload(
    yard: Any, monkeypatch: pytest.MonkeyPatch, when: str, room: str
) -> None:
    """fault:K4 A worker killed while it writes 8 MiB, or reads them, hangs nobody and tears no other message."""
    if room == "socket":
        monkeypatch.setattr(bays, "_ARENA_STEPS", (0,))
    blob = pattern(8 * MIB)

    def work(x: Any) -> Any:
        number, data, delay_s = x
        if delay_s is not None:
            threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return number, (data if data is not None else blob)

    yard.run(work, [(0, b"", None)] * 10)
    data = None if when == "result" else blob
    for delay_ms in (0.0, 1.0, 2.0, 4.0, 8.0):
        items = [(n, data if n % 2 else b"%d" % n, delay_ms / 1000 if n == 3 else None) for n in range(8)]
        outcomes = yard.run(work, items)
        for n, outcome in enumerate(outcomes):
            if outcome.ok:
                assert outcome.value == (n, blob if n % 2 else b"%d" % n)
            else:
                assert outcome.error.reason == "signal 9"
        assert sum(not outcome.ok for outcome in outcomes) <= 1
