"""Promises of pipelines as data, and of documents on their way through the stages."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from longshore._processors import Processors
from longshore._stream import DocumentStream
from longshore.errors import PayloadError, PluginError, PoolNotRunning, SettingsError
from longshore.pipeline import Pipeline, PipelineResult, Stage, Step, load_function, load_pipeline, prepare
from longshore.plugins import PluginHost
from longshore.processor import ProcessorContext, ProcessorResult
from longshore.settings import LoadedSettings, load_settings
from longshore.task import ErrorRecord, Outcome, RetryPolicy, TaskState

Load = Callable[[str], LoadedSettings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a loader of settings from a longshore.toml with the given text."""

    def load_text(text: str) -> LoadedSettings:
        (tmp_path / "longshore.toml").write_text(text)
        return load_settings(tmp_path, {}, (), tmp_path / "user.toml")

    return load_text


def _host() -> PluginHost:
    return PluginHost(distributions=list, failures=None)


def test_a_pipeline_is_read_from_the_settings(load: Load) -> None:
    """A table gives stages in the order that `after` allows; retries count what comes after the first attempt."""
    loaded = load(
        '[pipelines.p]\nstages = [{ name = "b", processor = "m:f", after = ["a"], timeout = 5, retries = 2,'
        ' resources = { cpu = 1, licence = 2 } }, { name = "a", processor = "x", executor = "threads" }]'
    )
    pipeline = load_pipeline("p", loaded, _host())
    first, second = pipeline.ordered()
    assert (first.name, first.executor, first.retry) == ("a", "threads", None)
    assert (second.name, second.timeout, second.retry) == ("b", 5.0, RetryPolicy(attempts=3))
    assert second.resources is not None
    assert second.resources.amounts() == {"cpu": 1.0, "licence": 2.0}


def test_what_is_wrong_with_a_pipeline_is_told_with_its_line(load: Load) -> None:
    """A table that is wrong is a SettingsError with file, line and key."""
    loaded = load('[pipelines.p]\n[[pipelines.p.stages]]\nname = "a"\nprocesor = "x"\n[pipelines.q]\n')
    with pytest.raises(SettingsError) as caught:
        load_pipeline("p", loaded, _host())
    text = str(caught.value)
    assert "longshore.toml:4 (project): pipelines.p.stages.0.procesor: unknown key; did you mean 'processor'?" in text
    assert "longshore.toml:2 (project): pipelines.p.stages.0.processor: Field required" in text
    with pytest.raises(SettingsError, match=r"longshore.toml:5 .*pipelines.q.stages: Field required"):
        load_pipeline("q", loaded, _host())


def test_an_unknown_pipeline_is_told_what_to_try(load: Load) -> None:
    """A name nobody provides is told with the near one, or with what to install."""
    loaded = load('[pipelines.invoices]\nstages = [{ name = "a", processor = "x" }]')
    with pytest.raises(SettingsError, match="did you mean 'invoices'"):
        load_pipeline("invoice", loaded, _host())
    with pytest.raises(PluginError, match="pip install longshore-documents"):
        load_pipeline("documents", loaded, _host())


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "has no stages"),
        ([Stage("a", "x"), Stage("a", "y")], "two stages named 'a'"),
        ([Stage("extract", "x"), Stage("b", "x", after=["extrat"])], "did you mean 'extract'"),
        ([Stage("a", "x", after=["b"]), Stage("b", "x", after=["a"])], "wait for each other"),
        ([Stage("a", "x", after=["a"])], "wait for each other"),
    ],
)
def test_a_graph_that_cannot_run_is_refused(stages: list[Stage], message: str) -> None:
    """Names given twice or unknown, and circles, are refused when the pipeline is made."""
    with pytest.raises(SettingsError, match=message):
        Pipeline("p", stages)


def test_independent_stages_keep_the_order_they_were_written_in() -> None:
    """The order is fixed by `after`, and else by how the stages were written."""
    stages = [Stage("d", "x", after=["b", "c"]), Stage("c", "x"), Stage("b", "x")]
    assert [stage.name for stage in Pipeline("p", stages).ordered()] == ["c", "b", "d"]


def test_a_function_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """module:function gives the function, and each way to be wrong has its own message."""
    (tmp_path / "usermodule_ok.py").write_text(
        "class A:\n    @staticmethod\n    def b(x): return x\nn = 1\ndef total(x): return x\n"
    )
    (tmp_path / "usermodule_bad.py").write_text("1 / 0\n")
    (tmp_path / "usermodule_exit.py").write_text("import sys\nsys.exit(3)\n")
    (tmp_path / "usermodule_needs.py").write_text("import not_installed_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_function("usermodule_ok:A.b")(3) == 3
    for name, message in [
        ("usermodule_none:f", "there is no module 'usermodule_none'"),
        ("usermodule_ok:totl", "did you mean 'total'"),
        ("usermodule_ok:n", "is no function but int"),
        ("usermodule_ok:", "has no ''"),
        (":f", "module:function"),
        ("usermodule_bad:f", "importing usermodule_bad failed"),
        ("usermodule_exit:f", "importing usermodule_exit failed"),
        ("usermodule_needs:f", "importing usermodule_needs failed"),
    ]:
        with pytest.raises(SettingsError, match=message):
            load_function(name)


class FakeHandle:
    """A handle whose end the test decides."""

    def __init__(self, outcome: Outcome) -> None:
        """Be queued."""
        self.state = TaskState.QUEUED
        self._outcome = outcome
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Run to the end."""
        self._ended.set()

    def cancel(self) -> None:
        """End as cancelled."""
        self._outcome = Outcome("", None, 0, "", TaskState.CANCELLED, error=ErrorRecord(type="C", message=""))
        self._ended.set()

    async def outcome(self) -> Outcome:
        """Wait for the end."""
        await self._ended.wait()
        return self._outcome


class FakePool:
    """A pool that runs at once, or holds what its function `hold` names."""

    def __init__(self, held: str = "") -> None:
        """Hold calls of the stage `held`."""
        self.held = held
        self.handles: list[FakeHandle] = []
        self.options_given: list[dict[str, Any]] = []

    def options(self, **options: Any) -> "FakePool":
        """Remember the options."""
        self.options_given.append(options)
        return self

    async def submit(self, function: Callable[..., Any], /, *args: Any) -> FakeHandle:
        """Run the function at once, and give a handle that tells of it when it may."""
        name = self.options_given[-1]["name"]
        try:
            outcome = Outcome("t", None, 0, name, TaskState.COMPLETED, function(*args))
        except ZeroDivisionError as error:
            outcome = Outcome("t", None, 0, name, TaskState.FAILED, error=ErrorRecord(type="Z", message=str(error)))
        handle = FakeHandle(outcome)
        self.handles.append(handle)
        if name != self.held:
            handle.end()
        return handle


def _documents(*names: str) -> Iterator[ProcessorContext]:
    return (ProcessorContext(document_id=name, file_path=f"/{name}") for name in names)


async def _all(stream: DocumentStream) -> list[PipelineResult]:
    async with stream, asyncio.timeout(10):
        return sorted([result async for result in stream], key=lambda result: result.index)


def _extract(context: ProcessorContext) -> ProcessorResult:
    if context.document_id == "bad":
        raise ZeroDivisionError("bad")
    return ProcessorResult(data={"text": f"text of {context.document_id}"})


def _chunk(context: ProcessorContext) -> object:
    return [context.previous_results["extract"]["text"]]


STEPS = [
    Step(name="extract", function=_extract, options={"timeout": 3}, final=False),
    Step(name="chunk", function=_chunk, after=("extract",)),
]


@pytest.mark.anyio
async def test_a_document_passes_the_stages() -> None:
    """Each stage gets the results of those before it; one that fails ends the document, the later are skipped."""
    pool = FakePool()
    good, bad = await _all(DocumentStream(pool, STEPS, _documents("good", "bad")))
    assert good.ok
    assert good.failure is None
    assert good.value == ["text of good"]
    ends = [Step(name="one", function=lambda context: 1), Step(name="two", function=lambda context: 2)]
    (both,) = await _all(DocumentStream(FakePool(), ends, _documents("x")))
    assert both.value == {"one": 1, "two": 2}
    assert bad.state is TaskState.FAILED
    assert bad.value is None
    assert bad.failure is bad.stages["extract"]
    assert bad.stages["chunk"].state is TaskState.SKIPPED
    assert {"timeout": 3, "name": "extract", "key": "good"} in pool.options_given


@pytest.mark.anyio
async def test_only_so_many_documents_are_under_way() -> None:
    """Documents are taken as others end, never more than the bound; results come as they end."""
    pool = FakePool(held="extract")
    taken = 0

    def documents() -> Iterator[ProcessorContext]:
        nonlocal taken
        for context in _documents("a", "b", "c", "d", "e"):
            taken += 1
            yield context

    async with DocumentStream(pool, STEPS, documents(), in_flight=2) as stream, asyncio.timeout(10):
        waiting = asyncio.ensure_future(anext(stream))
        while len(pool.handles) < 2:
            await asyncio.sleep(0)
        assert taken == 2
        pool.handles[1].end()
        assert (await waiting).document_id == "b"
        assert taken == 3


@pytest.mark.anyio
async def test_stopping_cancels_what_waits_and_lets_the_rest_end() -> None:
    """After `stop` nothing more is taken, what waits is cancelled, and what runs goes through all its stages."""
    pool = FakePool(held="extract")
    stream = DocumentStream(pool, STEPS, _documents("a", "b", "c"), in_flight=2)
    async with stream, asyncio.timeout(10):
        first = asyncio.ensure_future(anext(stream))
        while len(pool.handles) < 2:
            await asyncio.sleep(0)
        pool.handles[0].state = TaskState.PROCESSING
        stream.stop()
        assert (await first).state is TaskState.CANCELLED
        pool.handles[0].end()
        results = [result async for result in stream]
    assert [(result.document_id, result.ok) for result in results] == [("a", True)]


@pytest.mark.anyio
async def test_closing_cancels_all_there_is() -> None:
    """Leaving the stream early cancels what is under way."""
    pool = FakePool(held="extract")
    stream = DocumentStream(pool, STEPS, _documents("a"))
    async with asyncio.timeout(10):
        async with stream:
            waiting = asyncio.ensure_future(anext(stream))
            while not pool.handles:
                await asyncio.sleep(0)
        waiting.cancel()
    assert (await pool.handles[0].outcome()).state is TaskState.CANCELLED


@pytest.mark.anyio
async def test_a_refused_document_costs_only_itself() -> None:
    """What cannot be submitted is that document's failure; a pool that has failed is everybody's."""

    def refuse(context: ProcessorContext) -> None:
        if context.document_id == "big":
            raise PayloadError("too big")
        if context.document_id == "end":
            raise PoolNotRunning("it is over")

    steps = [Step(name="one", function=refuse)]
    small, big = await _all(DocumentStream(FakePool(), steps, _documents("small", "big")))
    assert small.ok
    assert big.failure is not None
    assert big.failure.error is not None
    assert big.failure.error.type == "longshore.errors.PayloadError"
    with pytest.raises(PoolNotRunning):
        await _all(DocumentStream(FakePool(), steps, _documents("end")))


def test_functions_take_the_context_or_the_path(load: Load) -> None:
    """A stage's function gets the context; one run on its own gets the path."""
    context = ProcessorContext(document_id="d", file_path="/d")
    assert STEPS[0].arguments(context, {}) == (context,)
    assert Step(name="x", function=len, takes="path").arguments(context, {}) == ("/d",)
    steps = prepare(
        Pipeline("p", [Stage("a", _extract, timeout=2, retry=RetryPolicy(2))]), Processors(load("").settings, _host())
    )
    assert steps[0].options == {"timeout": 2, "retry": RetryPolicy(2)}
