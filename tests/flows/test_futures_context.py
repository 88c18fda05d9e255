"""What a call of a `PoolExecutor` sees of its caller's context, and what is kept of the caller's objects."""

from __future__ import annotations

import gc
import importlib
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextvars import Context
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from longshore import PoolExecutor, Settings

DEADLINE_S = 20.0
PLAIN = Settings(probes=())
MODULE = """
from contextvars import ContextVar
tenant, user = ContextVar("tenant", default="nobody"), ContextVar("user", default="nobody")

def look(item=0):
    return tenant.get(), user.get()

class Looker:
    def look(self, *_):
        return look()
"""


@pytest.fixture
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:  # Any: a module made here
    """Return a module with context variables, which workers can import too."""
    (tmp_path / "marks_of_callers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("marks_of_callers")
    del sys.modules["marks_of_callers"]


@pytest.mark.parametrize("place", ["threads", "inline"])
def test_a_call_sees_the_context_of_its_caller(marks: Any, place: str) -> None:
    """Each what its own caller had set, the first call of a function and the later ones."""

    def called(tenant: str) -> Any:
        marks.tenant.set(tenant)
        return executor.submit(marks.look)

    with PoolExecutor(1, executor=place, settings=PLAIN) as executor:
        futures = [Context().run(called, tenant) for tenant in ("first", "second", "third")]
        assert [future.result(DEADLINE_S)[0] for future in futures] == ["first", "second", "third"]
        again = [Context().run(called, tenant) for tenant in ("first", "second")]
        assert [future.result(DEADLINE_S)[0] for future in again] == ["first", "second"]


@pytest.mark.slow
def test_a_process_sees_the_variables_that_were_chosen(marks: Any) -> None:
    """The option `context` names them, for functions and methods; others keep their defaults there."""

    def called(function: Callable[[], Any], tenant: str) -> Any:
        marks.tenant.set(tenant)
        marks.user.set("root")
        return executor.submit(function)

    with PoolExecutor(1, executor="processes", settings=PLAIN).with_options(context=[marks.tenant]) as executor:
        for function in (marks.look, marks.Looker().look):
            for _ in range(2):
                futures = [Context().run(called, function, tenant) for tenant in ("first", "second")]
                expected = [("first", "nobody"), ("second", "nobody")]
                assert [future.result(DEADLINE_S) for future in futures] == expected


class Thing:
    def method(self, number: int) -> int:
        return number


@pytest.mark.parametrize("place", ["threads", "processes", "inline"])
def test_nothing_keeps_the_object_of_a_method(marks: Any, place: str) -> None:
    """Nor what a closure holds, in this process: it is gone when its call has ended and its caller lets go of it."""
    with PoolExecutor(1, executor=place, settings=PLAIN) as executor:
        thing = marks.Looker()
        assert {executor.submit(thing.look, number).result(DEADLINE_S) for number in range(3)} == {("nobody", "nobody")}
        gone = [weakref.ref(thing)]
        if place != "processes":  # whose supervisor knows the last functions it has sent
            held = Thing()
            assert executor.submit(lambda: held.method(3)).result(DEADLINE_S) == 3
            gone.append(weakref.ref(held))
            del held
        del thing
        deadline = time.monotonic() + DEADLINE_S
        while any(one() is not None for one in gone) and time.monotonic() < deadline:
            gc.collect()
            time.sleep(0.002)
        assert [one() for one in gone] == [None] * len(gone)


def plain(number: int, held: Any = None) -> int:
    return number


@pytest.mark.parametrize("how", ["defaults", "keywords", "attributes", "defined anew"])
def test_nothing_keeps_what_a_function_holds(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Default arguments and attributes are gone when a function's calls have ended and nobody else has it.

    Also where a module had it, and has another of that name by now.
    """
    held = Thing()
    gone = weakref.ref(held)
    with PoolExecutor(1, executor="threads", settings=PLAIN) as executor:
        if how == "defaults":
            assert executor.submit(lambda number, held=held: number, 3).result(DEADLINE_S) == 3
        elif how == "keywords":
            assert executor.submit(lambda *, held=held: 3).result(DEADLINE_S) == 3
        else:
            function = FunctionType(plain.__code__, globals(), "plain", (held,) if how == "defined anew" else None)
            if how == "defined anew":
                monkeypatch.setattr(sys.modules[__name__], "plain", function)
            else:
                vars(function)["held"] = held
            assert executor.submit(function, 3, None).result(DEADLINE_S) == 3
            monkeypatch.undo()
            del function
        del held
        assert executor.submit(abs, -3).result(DEADLINE_S) == 3
        deadline = time.monotonic() + DEADLINE_S
        while gone() is not None and time.monotonic() < deadline:
            gc.collect()
            time.sleep(0.002)
        assert gone() is None


@pytest.mark.slow
def test_a_method_of_a_class_that_only_its_caller_can_import_runs_in_processes() -> None:
    """Such as one of this test: its class travels by value."""
    with PoolExecutor(1, executor="processes", settings=PLAIN) as executor:
        assert [executor.submit(Thing().method, number).result(DEADLINE_S) for number in range(3)] == [0, 1, 2]


def test_a_method_goes_by_its_own_name() -> None:
    """In events, statistics and errors."""
    with PoolExecutor(1, executor="threads", settings=PLAIN) as executor:
        failure = executor.with_options(timeout=0.01).submit(Thing().method, 1, 2)
        assert "method" in str(failure.exception(DEADLINE_S))
