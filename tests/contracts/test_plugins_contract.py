"""Each kind's contract is checked, and what is wrong is said precisely."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from longshore._plugins.contract import PROTOCOLS, class_problems, instance_problems
from longshore.hookspecs import KINDS, Capabilities, Sink, hookimpl
from longshore.processor import ProcessorMetadata
from pydantic import BaseModel


class GoodSink:
    @hookimpl
    def open(self, run: Any) -> None: ...

    @hookimpl
    def on_events(self, batch: Any) -> None: ...

    @hookimpl
    def close(self, summary: Any) -> None: ...


class GoodExecutor:
    capabilities = Capabilities(worker_type="x", runs=frozenset({"function"}), timeout="none")

    @hookimpl
    async def start(self, host: Any) -> None: ...

    @hookimpl
    def submit(self, attempts: Any) -> None: ...

    @hookimpl
    def cancel(self, request: Any) -> None: ...

    @hookimpl
    def resize(self, request: Any) -> None: ...

    @hookimpl
    def workers(self) -> Any: ...

    @hookimpl
    def pids(self) -> Any: ...

    @hookimpl
    async def stop(self, deadline: float) -> None: ...


class GoodProbe:
    resources = ("cpu",)
    period_s = 1.0

    @hookimpl
    def read(self, request: Any) -> Any: ...


class GoodJournal:
    @hookimpl
    def open(self, run: Any) -> None: ...

    @hookimpl
    def commit(self, batch: Any) -> None: ...

    @hookimpl
    def load(self, query: Any) -> Any: ...

    @hookimpl
    def close(self) -> None: ...

    @hookimpl
    def archive(self) -> Any: ...


class GoodProcessor:
    metadata = ProcessorMetadata(name="p", version="1")

    @hookimpl
    def initialize(self) -> None: ...

    @hookimpl
    def process(self, context: Any) -> Any: ...

    @hookimpl
    def cleanup(self) -> None: ...

    @hookimpl
    def health_check(self) -> bool:
        return True


class GoodPipeline:
    @hookimpl
    def toml(self) -> str:
        return ""


class GoodHooks:
    @hookimpl
    def route(self) -> str | None: ...


GOOD = {
    "executors": GoodExecutor,
    "probes": GoodProbe,
    "sinks": GoodSink,
    "journals": GoodJournal,
    "processors": GoodProcessor,
    "pipelines": GoodPipeline,
    "hooks": GoodHooks,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_that_keeps_its_contract_has_no_problems(kind: str) -> None:
    """Every kind has a contract, and a plain class can keep it without importing the Protocol."""
    assert set(PROTOCOLS) == set(KINDS)
    assert class_problems(kind, GOOD[kind]) == []
    assert instance_problems(kind, GOOD[kind]()) == []


def changed(base: type, **members: Any) -> type:
    """Return a subclass with these members."""
    return type(f"Bad{base.__name__}", (base,), members)


def plain(*arguments: Any) -> None: ...


@hookimpl
def on_event(self: Any, event: Any) -> None: ...


class WithoutOnEvents:
    open, close = GoodSink.open, GoodSink.close


class MissesClose:
    open, on_events = GoodSink.open, GoodSink.on_events


class OnlyInherits(Sink):
    @hookimpl
    def open(self, run: Any) -> None: ...

    @hookimpl
    def on_events(self, batch: Any) -> None: ...


class Unmarked(GoodSink):
    def close(self, summary: Any) -> None: ...


class Async(GoodSink):
    @hookimpl
    async def on_events(self, batch: Any) -> None: ...  # type: ignore[override]


class Generator(GoodSink):
    @hookimpl
    def on_events(self, batch: Any) -> Any:
        yield


class TooFew(GoodSink):
    @hookimpl
    def close(self) -> None: ...  # type: ignore[override]


class OtherName(GoodSink):
    @hookimpl
    def close(self, report: Any) -> None: ...


class KeywordOnly(GoodSink):
    @hookimpl
    def close(self, *, summary: Any) -> None: ...  # type: ignore[override]


class BySpecname(MissesClose):
    @hookimpl(specname="close")
    def finish(self, summary: Any) -> None: ...


class SyncStart(GoodExecutor):
    @hookimpl
    def start(self, host: Any) -> None: ...  # type: ignore[override]


class DefaultedHook:
    @hookimpl
    def admit(self, task: Any = None) -> str | None: ...


class StrangeHook:
    @hookimpl
    def admit(self, tusk: Any) -> str | None: ...


class AsyncHook:
    @hookimpl
    async def route(self, task: Any) -> str | None: ...


class Wrapper:
    @hookimpl(wrapper=True)
    def route(self, task: Any) -> Any:
        return (yield)


@pytest.mark.parametrize(
    ("kind", "cls", "message"),
    [
        (
            "sinks",
            changed(WithoutOnEvents, on_event=on_event),
            "method on_event is marked but no method of the sink contract has this name (did you mean on_events?)",
        ),
        ("sinks", MissesClose, "method close is missing"),
        ("sinks", OnlyInherits, "method close is missing"),
        ("sinks", Unmarked, "method close of Unmarked is not marked with @hookimpl"),
        ("sinks", changed(GoodSink, close=3), "close must be a method, not an int"),
        ("sinks", Async, "on_events must be a plain function, not a coroutine function (async def)"),
        ("sinks", Generator, "on_events must not be a generator function"),
        ("sinks", TooFew, "close must take what the contract gives: it is called as close(summary), and is close()"),
        ("sinks", OtherName, "argument report of close is not in the contract, which is close(summary)"),
        ("sinks", KeywordOnly, "argument summary of close is keyword-only, and arguments are given by place"),
        ("sinks", BySpecname, "method finish is marked with specname='close', but sinks are called by name"),
        ("sinks", plain, "the entry point must name a class, not a function"),
        ("sinks", GoodSink(), "the entry point must name a class, not a GoodSink"),
        ("sinks", changed(GoodSink, api="1"), "api must be an integer, not a str"),
        ("sinks", changed(GoodSink, api=True), "api must be an integer, not a bool"),
        ("sinks", changed(GoodSink, Settings=dict), "Settings must be a pydantic model class, not a type"),
        ("executors", SyncStart, "start must be a coroutine function (async def)"),
        ("hooks", DefaultedHook, "argument task of admit has a default, and so would never be given"),
        ("hooks", StrangeHook, "argument tusk of admit is not in the contract, which is admit(task, snapshot)"),
        ("hooks", AsyncHook, "route must be a plain function, not a coroutine function"),
        ("hooks", Wrapper, "method route is a hook wrapper"),
    ],
)
def test_what_is_wrong_is_said_and_said_once(kind: str, cls: object, message: str) -> None:
    """One mistake gives one line that names it."""
    problems = class_problems(kind, cls)
    assert message in problems[0]
    if cls not in (Wrapper, BySpecname):
        assert len(problems) == 1, problems


def test_several_mistakes_are_all_named() -> None:
    """An author sees everything at once."""

    class Bad(Unmarked):
        @hookimpl
        async def open(self, run: Any) -> None: ...  # type: ignore[override]

    assert len(class_problems("sinks", Bad)) == 2


@pytest.mark.requirement("req:K06")
def test_a_processor_may_process_in_either_colour() -> None:
    """`process` is the one method that may be a coroutine function or a plain one."""

    class AsyncProcessor(GoodProcessor):
        @hookimpl
        async def process(self, context: Any) -> Any:
            await asyncio.sleep(0)

    assert class_problems("processors", AsyncProcessor) == []


def test_a_processor_may_look_at_its_input() -> None:
    """`validate_input` may be left out; where it is there it is held to its contract like any other method."""

    class Looking(GoodProcessor):
        @hookimpl
        def validate_input(self, context: Any) -> str | None: ...

    class Unmarked(GoodProcessor):
        def validate_input(self, context: Any) -> str | None: ...

    class Async(GoodProcessor):
        @hookimpl
        async def validate_input(self, context: Any) -> str | None: ...

    class Misspelt(GoodProcessor):
        @hookimpl
        def validate_inputs(self, context: Any) -> str | None: ...

    assert class_problems("processors", Looking) == []
    assert "is not marked with @hookimpl" in class_problems("processors", Unmarked)[0]
    assert "must be a plain function" in class_problems("processors", Async)[0]
    assert "did you mean validate_input?" in class_problems("processors", Misspelt)[0]


def test_extra_arguments_with_defaults_are_welcome() -> None:
    """A method may be handier for other callers, as long as ours works."""

    class Handy(GoodSink):
        @hookimpl
        def close(self, summary: Any, *, quietly: bool = False) -> None: ...

        @staticmethod
        @hookimpl
        def open(run: Any) -> None: ...

        @classmethod
        @hookimpl
        def on_events(cls, batch: Any) -> None: ...

    assert class_problems("sinks", Handy) == []


def test_a_method_of_a_later_contract_may_be_marked_optional() -> None:
    """A plugin can serve newer cores too: what it marks as optional is not missed here."""

    class Ahead(GoodSink):
        @hookimpl(optionalhook=True)
        def on_pause(self, moment: Any) -> None: ...

    assert class_problems("sinks", Ahead) == []


def late(self: Any) -> Any:
    raise SystemExit(1)


@pytest.mark.parametrize(
    ("kind", "members", "message"),
    [
        ("executors", {"capabilities": None}, "attribute capabilities must be a Capabilities record, not a NoneType"),
        ("executors", {"capabilities": property(late)}, "attribute capabilities raised SystemExit"),
        ("processors", {"metadata": {}}, "attribute metadata must be a ProcessorMetadata record, not a dict"),
        ("probes", {"resources": "cpu"}, "attribute resources must be a sequence of names"),
        ("probes", {"period_s": 0}, "attribute period_s must be a number of seconds above 0"),
    ],
)
def test_an_instance_must_have_its_attributes(kind: str, members: dict[str, Any], message: str) -> None:
    """What the pool reads before the first call is there, and of the right type."""
    (problem,) = instance_problems(kind, changed(GOOD[kind], **members)())
    assert message in problem


def test_an_attribute_made_by_the_constructor_counts() -> None:
    """Attributes may belong to the instance; one that is nowhere is named."""

    class Made(GoodProcessor):
        def __init__(self) -> None:
            self.metadata = ProcessorMetadata(name="p", version="2")

    assert instance_problems("processors", Made()) == []

    class Without:
        initialize, process = GoodProcessor.initialize, GoodProcessor.process
        cleanup, health_check = GoodProcessor.cleanup, GoodProcessor.health_check

    assert class_problems("processors", Without) == []
    assert instance_problems("processors", Without()) == ["attribute metadata is missing"]


def test_settings_may_be_any_pydantic_model() -> None:
    """`Settings` is a model class, nested or not."""

    class Settings(BaseModel):
        path: str = "x"
        names: Sequence[str] = ()

    assert class_problems("sinks", changed(GoodSink, Settings=Settings)) == []
