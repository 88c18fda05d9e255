"""How a run ended, from what became of its pool."""

from __future__ import annotations

import asyncio

import pytest
from longshore._run_end import RunEnd
from longshore.errors import ResourceUnavailable


@pytest.mark.parametrize(
    ("left_by", "drained", "end"),
    [
        (None, True, ("completed", None)),
        (None, False, ("stopped", None)),
        (KeyError("mine"), True, ("failed", "KeyError: 'mine'")),
        (ResourceUnavailable("no GPU"), False, ("failed", "no GPU")),
        (asyncio.CancelledError(), True, ("stopped", None)),
        (KeyboardInterrupt(), True, ("stopped", None)),
        (SystemExit(1), True, ("stopped", None)),
        (SystemExit(0), True, ("completed", None)),
    ],
)
def test_a_block_that_is_left_by_an_exception_is_not_completed(
    left_by: BaseException | None, drained: bool, end: tuple[str, str | None]
) -> None:
    """By an error it has failed, and says why; by somebody's wish to end it was stopped."""
    made = RunEnd.of(None, None, left_by, drained=drained)
    assert (made.state, made.error) == end
    assert bool(made.states()) is (made.error is not None)


def test_the_pools_own_failure_comes_first() -> None:
    """What leaves the block then only follows from it."""
    made = RunEnd.of(OSError("disk"), "late", ValueError(), drained=True)
    assert (made.state, made.error, made.type) == ("failed", "disk", "OSError")
    assert RunEnd.of(None, "late", ValueError(), drained=True).error == "late"
