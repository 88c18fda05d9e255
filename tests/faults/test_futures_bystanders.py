"""One bad task costs one future: twenty calls, two workers, one bad; the other nineteen give their results."""

from __future__ import annotations

import os
import signal
from concurrent.futures import wait
from typing import Any

import pytest
from longshore import PayloadError, PoolExecutor, Settings, WorkerDied

DEADLINE_S = 40.0
BAD = 7


class TwoArguments(Exception):
    """An exception that pickle makes anew with one argument, and that needs two."""

    def __init__(self, what: str, number: int) -> None:
        super().__init__(what)
        self.number = number


class Unreadable:
    """A result that can be sent, and not be read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return refuse, ()


def refuse() -> None:
    raise RuntimeError("not to be read")


def killed(number: int) -> int:
    """fault:K1"""
    if number == BAD:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def raising(number: int) -> int:
    """fault:S2"""
    if number == BAD:
        raise TwoArguments("the lid", 7)
    return number


def unreadable(number: int) -> int | Unreadable:
    """fault:S1"""
    return Unreadable() if number == BAD else number


@pytest.mark.parametrize("start_method", ["zygote", "interpreter"])
@pytest.mark.parametrize(
    ("function", "error"), [(killed, WorkerDied), (raising, TwoArguments), (unreadable, PayloadError)]
)
def test_nineteen_of_nineteen_give_their_result(start_method: str, function: Any, error: type[Exception]) -> None:
    """Whether the bad one kills its worker, raises what pickle can't make anew, or returns what can't be read.

    The bad one's future says what happened, and the executor takes work afterwards. fault:K1 fault:S1 fault:S2
    """
    settings = Settings(probes=(), executors={"processes": {"start_method": start_method}})
    with PoolExecutor(2, executor="processes", settings=settings) as executor:
        futures = [executor.submit(function, number) for number in range(20)]
        assert not wait(futures, DEADLINE_S).not_done
        others = [future for number, future in enumerate(futures) if number != BAD]
        assert [future.result() for future in others] == [number for number in range(20) if number != BAD]
        assert isinstance(futures[BAD].exception(), error)
        assert executor.submit(abs, -1).result(DEADLINE_S) == 1
