"""Objects of the user's whose own methods raise: each costs its task only, and no worker."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import pytest
from longshore import WorkerConfig, WorkerPool
from longshore.errors import PayloadError
from longshore.task import RetryPolicy, TaskState
from longshore.worker import current_task

pytestmark = pytest.mark.slow


def refuse(*_: Any) -> NoReturn:
    raise RuntimeError("unbound")


@dataclass(frozen=True)
class HttpError(Exception):
    status: int
    url: str = ""


class MuteError(Exception):
    __str__ = __repr__ = __setattr__ = refuse


class ClosedError(Exception):
    __getattribute__ = __reduce__ = refuse


class Text(str):
    __slots__ = ()

    def __getitem__(self, _: Any) -> Any:
        return self

    __reduce__ = refuse


class OddTextError(Exception):
    def __str__(self) -> str:
        return Text("odd")


def raise_fixed() -> NoReturn:
    class FixedError(Exception):
        __traceback__ = __cause__ = __class__ = property(refuse)

    raise FixedError


def lazy() -> object:
    """Return something like a proxy that is bound to nothing."""

    class Lazy:
        __class__ = property(refuse)
        __getattribute__ = refuse

    return Lazy()


def of_unhashable() -> object:
    class Unhashable(type):
        def __eq__(cls, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    class OfUnhashable(metaclass=Unhashable):
        pass

    return OfUnhashable()


class UnfitResult:
    def __reduce__(self) -> Any:
        raise MuteError


class ExitsWhenSent:
    def __reduce__(self) -> Any:
        raise SystemExit(3)


class MuteWhenRead:
    def __reduce__(self) -> Any:
        return raise_it, (MuteError,)


class Falsy:
    def __bool__(self) -> NoReturn:
        raise RuntimeError("neither")

    def __call__(self, x: int) -> tuple[int, int]:
        return x, os.getpid()


def raise_it(kind: type[BaseException]) -> NoReturn:
    raise kind("a")


def tell_odd_step() -> str:
    current_task().progress(0.5, step=ExitsWhenSent())  # type: ignore[arg-type]
    return "told"


BAD: dict[str, Callable[[], Any]] = {
    "frozen exception": lambda: raise_it(HttpError),
    "exception without text": lambda: raise_it(MuteError),
    "exception without attributes": lambda: raise_it(ClosedError),
    "exception with properties": raise_fixed,
    "exception with odd text": lambda: raise_it(OddTextError),
    "lazy result": lazy,
    "class that has no hash": of_unhashable,
    "result that raises a mute exception": UnfitResult,
    "result that raises a mute exception when read": MuteWhenRead,
    "result that exits when sent": ExitsWhenSent,
}


@pytest.mark.parametrize("name", BAD)
def test_it_costs_its_task_only(lone_yard: Any, name: str) -> None:
    """Ten tasks in one batch, one of them bad: it fails, and the one worker goes on."""
    action = BAD[name]

    def work(x: int) -> Any:
        return action() if x == 3 else os.getpid()

    assert all(outcome.ok for outcome in lone_yard.run(work, [0] * 100))
    [pid] = lone_yard.executor.pids()
    outcomes = lone_yard.run(work, range(10))
    assert [outcome.ok for outcome in outcomes] == [x != 3 for x in range(10)]
    assert {outcome.value for outcome in outcomes if outcome.ok} == {pid}
    assert outcomes[3].error.type != "longshore.errors.WorkerDied"
    assert not lone_yard.host.errors


class EndsWhenRead:
    def __reduce__(self) -> Any:
        return os._exit, (3,)


class HangsWhenRead:
    def __reduce__(self) -> Any:
        return time.sleep, (1000,)


@pytest.mark.parametrize(("kind", "state"), [(EndsWhenRead, TaskState.FAILED), (HangsWhenRead, TaskState.TIMED_OUT)])
def test_results_that_do_harm_when_read(lone_yard: Any, kind: type, state: TaskState) -> None:
    """fault:S1 A result that hangs, or ends its reader, does so in its worker, inside another result as well."""
    outcomes = lone_yard.run(lambda x: [kind()] if x == 3 else [x], range(6), timeout_s=0.4)
    assert [outcome.state for outcome in outcomes if not outcome.ok] == [state]
    assert [outcome.value for outcome in outcomes if outcome.ok] == [[x] for x in range(6) if x != 3]
    assert not lone_yard.host.errors


def test_a_frozen_exception_arrives(lone_yard: Any) -> None:
    """An exception that is a frozen dataclass comes as what it is, with its fields, its cause and its traceback."""

    def ask(_: int) -> NoReturn:
        raise HttpError(status=503, url="/a") from KeyError("b")

    [outcome] = lone_yard.run(ask, [0])
    assert type(outcome.exception) is HttpError
    assert (outcome.exception.status, outcome.exception.url) == (503, "/a")
    cause = outcome.exception.__cause__
    assert "in ask" in str(cause)
    assert cause is not None
    assert isinstance(cause.__cause__, KeyError)
    assert "child.py" not in outcome.error.traceback


def test_odd_steps_are_not_told(lone_yard: Any) -> None:
    """A step of progress that exits when it is sent is left out, and its task completes."""
    [outcome] = lone_yard.run(lambda _: tell_odd_step(), [0])
    assert outcome.value == "told"


def test_a_function_without_truth(lone_yard: Any) -> None:
    """A callable that can't say whether it is true is called like any other, and got ready once."""
    outcomes = lone_yard.run(Falsy(), range(5))
    assert [outcome.value[0] for outcome in outcomes if outcome.ok] == list(range(5))
    assert len({outcome.value[1] for outcome in outcomes}) == 1


@pytest.mark.parametrize("kind", [ExitsWhenSent, UnfitResult])
def test_arguments_that_refuse(lone_yard: Any, kind: type) -> None:
    """An argument that raises anything at all when it is sent fails its task with PayloadError, and nothing else."""
    outcomes = lone_yard.run(lambda _: 1, [0, kind(), 0])
    assert [outcome.ok for outcome in outcomes] == [True, False, True]
    assert isinstance(outcomes[1].exception, PayloadError)
    assert not lone_yard.host.errors


def test_frozen_exceptions_are_retried() -> None:
    """`retry_on` names a frozen exception of a process task, and it is tried again."""

    def ask() -> int:
        if current_task().attempt < 2:
            raise HttpError(503)
        return current_task().attempt

    async def go() -> int:
        retry = RetryPolicy(attempts=2, backoff=0.0, retry_on=(HttpError,))
        async with WorkerPool(WorkerConfig(process_workers=1)) as pool:
            task = await pool.options(executor="processes", retry=retry).submit(ask)
            return int(await task)

    assert asyncio.run(go()) == 2


@pytest.mark.parametrize("end", ["returns", "raises"])
def test_a_forked_child_says_nothing(lone_yard: Any, caplog: pytest.LogCaptureFixture, end: str) -> None:
    """A child that a task forks and that comes back from the function ends there; the worker's own answer counts."""

    def fork(x: int) -> tuple[str, int]:
        if x != 3:
            return "none", x
        pid = os.fork()
        if pid == 0:
            current_task().progress(0.5, "child")
            logging.getLogger("child").warning("from the child")
            if end == "raises":
                raise LookupError("in the child")
            return "child", x
        _, status = os.waitpid(pid, 0)
        until = time.process_time() + 0.002
        while time.process_time() < until:
            pass
        return "worker", os.waitstatus_to_exitcode(status)

    assert all(outcome.ok for outcome in lone_yard.run(fork, [0] * 100))
    with caplog.at_level(logging.INFO):
        outcomes = lone_yard.run(fork, range(6))
        lone_yard.stop()
    code = 1 if end == "raises" else 0
    assert [outcome.value for outcome in outcomes] == [("worker", code) if x == 3 else ("none", x) for x in range(6)]
    assert outcomes[3].cpu_s >= 0.002
    assert lone_yard.host.updates == []
    assert any(record.getMessage() == "from the child" for record in caplog.records)
    assert any("in the child" in record.getMessage() for record in caplog.records) == (end == "raises")


def test_an_initializer_that_forks(lone_yard: Any) -> None:
    """A child that comes back from an initializer ends there, and runs no task."""

    def load() -> None:
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)

    outcomes = lone_yard.run(lambda _: os.getpid(), range(3), initializer=load)
    assert {outcome.value for outcome in outcomes} == set(lone_yard.executor.pids())
