"""Where a stream's calls come from, without a loop."""

from __future__ import annotations

from collections.abc import Iterator

from longshore._runtime.source import Plain
from longshore.testing import FakeClock


def slow(clock: FakeClock, count: int, item_s: float) -> Iterator[tuple[int]]:
    """Yield `count` calls, each of which takes `item_s` seconds to make."""
    for number in range(count):
        clock.advance(item_s)
        yield (number,)


def test_what_is_slow_to_make_is_taken_a_little_at_a_time() -> None:
    """A source of 50 ms an item gives one at a time, so that each begins to run before the next is made."""
    clock = FakeClock()
    source = Plain(slow(clock, 5, 0.05), clock.monotonic)
    assert [source.take(64) for _ in range(5)] == [[(0,)], [(1,)], [(2,)], [(3,)], [(4,)]]
    assert source.take(64) == []
    assert source.exhausted


def test_what_is_there_at_once_is_taken_at_once() -> None:
    """A source that costs nothing gives all that is asked for, in order, and ends."""
    source = Plain(zip(range(3000)), FakeClock().monotonic)
    assert source.take(2000) == list(zip(range(2000)))
    assert source.take(2000) == list(zip(range(2000, 3000)))
    assert source.exhausted


def test_what_was_made_before_an_error_is_given() -> None:
    """Of a source that raises at its tenth item, nine are given and the error is kept."""

    def broken() -> Iterator[tuple[int]]:
        yield from zip(range(9))
        raise OSError("gone")

    source = Plain(broken(), FakeClock().monotonic)
    assert source.take(64) == list(zip(range(9)))
    assert isinstance(source.error, OSError)
    assert source.exhausted
