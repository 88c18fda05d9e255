"""Documents that are refused before a worker is taken, and the health of processors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from longshore import Pipeline, ProcessorContext, Settings, Stage, TaskState, WorkerPool
from longshore.hookspecs import hookimpl
from longshore.testing import MemoryJournal, RecordingSink

pytestmark = pytest.mark.anyio


# ---- documents that will not do


class Picky:
    """Takes small text files, and none that is called no."""

    said: ClassVar = {"formats": ["txt", "md", "application/x-odd"], "max_file_size_mb": 0.001, "retry_count": 3}

    @hookimpl
    def validate_input(self, context: ProcessorContext) -> str | None:
        if context.document_id == "broken":
            raise ZeroDivisionError("the check itself")
        return "it is called no" if context.document_id == "no" else None


REFUSED = [
    ({"file_path": "a.PNG"}, "unsupported", "this is png"),
    ({"file_path": "a"}, "unsupported", "without a suffix"),
    ({"mime_type": "image/png"}, "unsupported", "image/png"),
    ({"file_path": "large.txt"}, "too-large", "larger than the 0.001 MB"),
    ({"file_path": "missing.md"}, "unreadable", "No such file"),
    ({"document_id": "no"}, "refused", "it is called no"),
    ({"document_id": "broken"}, None, "the check itself"),
]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a test's own, in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("small.txt").write_text("text")
    Path("small.TXT").write_text("text")
    Path("small.odd").write_text("text")
    Path("large.txt").write_text("text" * 300)


@pytest.mark.parametrize(("context", "reason", "message"), REFUSED)
@pytest.mark.requirement("req:K08")
async def test_a_document_that_will_not_do_fails_before_a_worker_is_taken(
    processing: Any, files: None, context: dict[str, Any], reason: str | None, message: str
) -> None:
    """Format, size, and what the processor says: the task fails at once, unrun and untried, with the reason."""
    sink = RecordingSink()
    async with processing.pool_of(sink, p=processing.kind(Picky)) as pool:
        outcome = await processing.end_of(pool, **context)
        assert {row.tasks_completed + row.tasks_failed for row in pool.get_worker_stats()} == {0}
        stats, counts = pool.get_stats(), pool.snapshot()
    assert outcome.error is not None
    assert (outcome.state, outcome.error.reason) == (TaskState.FAILED, reason)
    assert message in outcome.error.message
    assert (outcome.attempts, outcome.ran_s, outcome.worker) == (0, 0.0, None)
    assert (stats.submitted_tasks, stats.failed_tasks, stats.queued_tasks, stats.running_tasks) == (1, 1, 0, 0)
    assert (counts.submitted, counts.failed, counts.queued, counts.retried) == (1, 1, 0, 0)
    told = [event.type for event in sink.events if "task_id" in event.data]
    assert told == ["task_submitted", "task_failed"]


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"file_path": "small.txt"},
        {"file_path": "small.TXT"},
        {"file_path": "small.odd", "mime_type": "text/markdown; charset=utf-8"},
        {"mime_type": "Application/X-Odd; version=2"},
    ],
)
@pytest.mark.requirement("req:K08")
async def test_a_document_that_will_do_is_processed(processing: Any, files: None, context: dict[str, Any]) -> None:
    """A suffix or a MIME type of the formats is enough, and so is a document that says neither."""
    async with processing.pool_of(p=processing.kind(Picky)) as pool:
        assert (await processing.end_of(pool, **context)).ok


@pytest.mark.requirement("req:K08")
async def test_streams_leave_out_what_will_not_do(processing: Any, files: None) -> None:
    """In a stream of documents the refused ones are outcomes like others, in their place, and cost no worker."""
    names = ["small.txt", "large.txt", "small.txt", "missing.md", "a.png"]
    contexts = [ProcessorContext(document_id=name, file_path=name) for name in names]
    async with processing.pool_of(p=processing.kind(Picky)) as pool:
        call = pool._processors.entry("p").call
        outcomes = [outcome async for outcome in pool.outcomes(call, contexts, ordered=True)]
        assert [outcome.attempts for outcome in outcomes] == [1, 0, 1, 0, 0]
        assert not any([outcome.ok async for outcome in pool.outcomes(call, contexts[3:])])
        stats = pool.get_stats()
    assert (stats.submitted_tasks, stats.completed_tasks, stats.failed_tasks) == (7, 2, 5)


@pytest.mark.requirement("req:K08")
async def test_a_refused_document_is_committed_like_any_other_end(processing: Any) -> None:
    """With a journal, the end of a document that will not do is kept before anybody is told of it."""
    journal = MemoryJournal()
    pool = WorkerPool(settings=Settings(probes=()), journal=journal)
    pool.replace_processor("p", processing.kind(Picky))
    async with pool:
        outcome = await processing.end_of(pool, file_path="a.png")
        assert [kept.task_id for kept in journal.outcomes] == [outcome.task_id]


async def test_a_validate_input_that_answers_oddly_is_a_failure(processing: Any) -> None:
    """An answer that is neither a reason nor None is told of; it lets nothing through."""

    class Odd(processing.Base):
        @hookimpl
        def validate_input(self, context: ProcessorContext) -> str | None:
            return True  # type: ignore[return-value]  # that is the point

    async with processing.pool_of(p=Odd) as pool:
        outcome = await processing.end_of(pool)
    assert outcome.error is not None
    assert "returned True, not a reason or None" in outcome.error.message


@pytest.mark.slow
@pytest.mark.parametrize("error", [SystemExit(2), asyncio.CancelledError(), GeneratorExit()], ids=repr)
@pytest.mark.requirement("req:K08")
async def test_whatever_validate_input_raises_fails_its_document(processing: Any, error: BaseException) -> None:
    """Also what is no Exception: the document has failed, alone and in a stream, and the pool goes on."""

    class Abrupt(processing.Base):
        @hookimpl
        def validate_input(self, context: ProcessorContext) -> str | None:
            if context.document_id == "bad":
                raise error
            return None

    contexts = [ProcessorContext(document_id=name) for name in ("x", "bad", "y")]
    async with processing.pool_of(p=Abrupt) as pool:
        outcome = await processing.end_of(pool, document_id="bad")
        assert (outcome.state, outcome.attempts, outcome.exception) == (TaskState.FAILED, 0, error)
        call = pool._processors.entry("p").call
        states = [outcome.state.value async for outcome in pool.outcomes(call, contexts, ordered=True)]
        run = await pool.start_pipeline(Pipeline("one", [Stage("a", "p")]), contexts[1])
    assert states == ["completed", "failed", "completed"]
    assert (run.state, run.ended_by) == (TaskState.FAILED, "a")


@pytest.mark.requirement("req:K08")
async def test_a_reason_of_no_words_refuses_too(processing: Any) -> None:
    """An empty reason lets nothing through, and is told as one that was not given."""

    class Terse(processing.Base):
        @hookimpl
        def validate_input(self, context: ProcessorContext) -> str | None:
            return ""

    async with processing.pool_of(p=Terse) as pool:
        outcome = await processing.end_of(pool)
    assert outcome.error is not None
    assert (outcome.error.reason, outcome.error.message) == ("refused", "d: processor p refused it, and gave no reason")


# ---- health


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a hanging check waits for; let go at the end, whatever happens."""
    made = threading.Event()
    yield made
    made.set()


class Counted:
    """Writes down the steps of its life."""

    log: Path

    @hookimpl
    def initialize(self) -> None:
        with self.log.open("a") as file:
            file.write("initialize\n")

    @hookimpl
    def cleanup(self) -> None:
        with self.log.open("a") as file:
            file.write("cleanup\n")


@pytest.mark.requirement("req:K10")
async def test_health_is_asked_of_all_within_a_time(processing: Any, gate: threading.Event, tmp_path: Path) -> None:
    """Each says whether it can work; one that hangs, raises or says no is unhealthy, and holds up none."""

    class Hanging(processing.Base):
        @hookimpl
        def health_check(self) -> bool:
            return gate.wait()

    class Ill(processing.Base):
        @hookimpl
        def health_check(self) -> bool:
            return False

    class Broken(processing.Base):
        @hookimpl
        def initialize(self) -> None:
            raise ConnectionError("no server")

    well = processing.kind(Counted, facts={"log": tmp_path / "log"})
    async with processing.pool_of(well=well, hanging=Hanging, ill=Ill, broken=Broken) as pool:
        health = await pool.check_processors(timeout_s=0.2)
        more = await pool.check_processors("well", "nowhere")
    assert {name: answer.healthy for name, answer in health.items()} == {
        "well": True,
        "hanging": False,
        "ill": False,
        "broken": False,
    }
    reasons = {name: answer.reason for name, answer in health.items()}
    assert reasons == {
        "well": None,
        "hanging": "no answer within 0.2 s",
        "ill": "health_check returned False",
        "broken": "ConnectionError: no server",
    }
    assert not more["nowhere"].healthy
    assert "nowhere" in str(more["nowhere"].reason)
    assert (tmp_path / "log").read_text().split() == ["initialize", "cleanup"] * 2


@pytest.mark.requirement("req:K10")
async def test_a_check_that_hangs_is_not_asked_again(processing: Any, gate: threading.Event) -> None:
    """While it hangs it is told of each time, from one thread; once it has answered it is asked anew."""
    asked: list[int] = []

    class Hanging(processing.Base):
        @hookimpl
        def health_check(self) -> bool:
            asked.append(1)
            return gate.wait()

    def threads() -> int:
        return sum(thread.name == "longshore-health-hf" for thread in threading.enumerate())

    async with processing.pool_of(hf=Hanging) as pool:
        for _ in range(5):
            health = await pool.check_processors("hf", timeout_s=0.02)
            assert health["hf"].reason == "no answer within 0.02 s"
            assert threads() == 1
        both = asyncio.gather(*(pool.check_processors("hf", timeout_s=5) for _ in range(2)))
        await asyncio.sleep(0)
        gate.set()
        assert [health["hf"].healthy for health in await both] == [True, True]
        assert len(asked) == 1
        assert (await pool.check_processors("hf", timeout_s=5))["hf"].healthy
    assert len(asked) == 2


# ---- objects of stores


@pytest.mark.parametrize(
    ("name", "reason", "message"),
    [
        ("a.png", "unsupported", "this is png"),
        ("large.txt", "too-large", "larger than the 0.001 MB"),
        ("none.txt", "missing", "no such object"),
        ("seen.txt", "refused", "memory://box/seen.txt"),
        ("small.txt", None, ""),
    ],
)
@pytest.mark.slow
async def test_an_object_is_looked_at_where_it_is_there(
    processing: Any, name: str, reason: str | None, message: str
) -> None:
    """Of a document that is an object the format is looked at before a worker is taken; the rest once it is a file."""
    fsspec = pytest.importorskip("fsspec")

    class Looking(Picky):
        @hookimpl
        def validate_input(self, context: ProcessorContext) -> str | None:
            assert context.file_path is not None
            said = Path(context.file_path).read_text()  # there, and a file
            return "it was seen before" if said == "seen" else None

    store = fsspec.filesystem("memory")
    store.store.clear()
    for other, text in {"a.png": "", "large.txt": "text" * 300, "seen.txt": "seen", "small.txt": "text"}.items():
        store.pipe_file(f"/box/{other}", text.encode())
    url = f"memory://box/{name}"
    async with processing.pool_of(p=processing.kind(Looking)) as pool:
        outcome = await processing.end_of(pool, document_id=url, file_path=url)
    store.store.clear()
    assert (outcome.error and outcome.error.reason) == reason
    assert message in (outcome.error.message if outcome.error else "")
