"""`longshore top`: the tables of a run on a terminal, from its journal or its page."""

from __future__ import annotations

import asyncio
import http.server
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from longshore import LongshoreError, Settings, WorkerConfig, WorkerPool
from longshore.cli.console import UsageError
from longshore.cli.top import top
from longshore.cli.topapp import Detail, TopApp
from longshore.cli.topviews import TABLES, headline, seconds
from longshore.cli.watched import JournalRun, Picture, WebRun
from longshore.records import RunSnapshot
from longshore.runs import FailureView, StageView, TaskDetail, TaskFilter, TaskPage, TaskRow, WorkerView
from longshore.testing import MemoryJournal
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deadline")]
DEADLINE_S = 30.0
COUNTS = {"total": 4, "submitted": 4, "running": 1, "completed": 2, "failed": 1}
SNAPSHOT = RunSnapshot(
    run_id="r1", name="job", started=datetime.now(UTC), elapsed_s=75.0, throttled="memory is short", **COUNTS
)
STAGES = [
    StageView(name="write", executor="threads", completed=1),
    StageView(name="[b]read", executor="threads", completed=5),
]
FAILURE = FailureView(
    fingerprint="f", type="ValueError", message="no\x1b[31m", reason=None, count=1, first=1, last=2, example="t3"
)


def task(task_id: str, **fields: Any) -> TaskRow:
    return TaskRow(id=1, task_id=task_id, executor="threads", **{"name": "read", "state": "completed", **fields})


def worker(name: str) -> WorkerView:
    measured = {"tasks": 1, "failed": 0, "busy_s": 1.0, "cpu_s": 1.0, "peak_memory_mb": None, "first": 1.0, "last": 2.0}
    return WorkerView(worker=name, executor="threads", **measured)  # type: ignore[arg-type]  # its own fields


class Scripted:
    """Answers as a run would, and keeps what it was asked and ordered."""

    def __init__(self, *, control: bool = False) -> None:
        self.control = control
        self.paused = False
        self.orders: list[tuple[str, Mapping[str, Any]]] = []
        self.asked: list[tuple[TaskFilter, str, bool]] = []
        self.closed = threading.Event()
        self.lost = False

    def picture(self) -> Picture:
        if self.lost:
            raise ConnectionError("the page does not answer")
        return Picture(
            snapshot=msgspec.structs.replace(SNAPSHOT, paused=self.paused),
            state="running",
            stages=STAGES,
            running=[task("t9", key="slow.pdf", state="processing", started=1.0)],
            failures=[FAILURE],
            workers=[worker("w1"), worker("w2")],
            live=True,
            control=self.control,
        )

    def tasks(self, wanted: TaskFilter, sort: str, descending: bool) -> TaskPage:
        self.asked.append((wanted, sort, descending))
        return TaskPage(rows=[task("t1", run_s=1.5), task("t3", state="failed")], total=2)

    def task(self, task_id: str) -> TaskDetail | None:
        return TaskDetail(task=task(task_id, state="failed"), traceback="Traceback:\n  \x1b[2Jhere")

    def order(self, name: str, body: Mapping[str, Any]) -> None:
        self.orders.append((name, body))
        self.paused = name == "pause" or (self.paused and name != "unpause")

    def close(self) -> None:
        self.closed.set()


def cells(app: TopApp, name: str) -> list[list[str]]:
    table = app.query_one(f"#table-{name}", DataTable)
    return [[str(cell) for cell in table.get_row_at(at)] for at in range(table.row_count)]


async def seen(pilot: Pilot[None], shown: Callable[[], bool]) -> None:
    """Wait until it is on the screen, for ten seconds; textual keeps the cancellation of a test to itself."""
    until = asyncio.get_running_loop().time() + 10.0
    while not shown():
        assert asyncio.get_running_loop().time() < until, "not seen in time"
        await pilot.pause(0.01)


async def turned_to(pilot: Pilot[None], name: str) -> None:
    """Have a table on top, once there is one to be seen."""
    app = pilot.app
    assert isinstance(app, TopApp)
    await seen(pilot, lambda: app.focused is app.query_one("#table-stages") and len(cells(app, "stages")) > 0)
    await pilot.pause()
    await pilot.press(str([*TABLES].index(name) + 1))
    await seen(pilot, lambda: app.shown == name and app.focused is app.query_one(f"#table-{name}"))


def said(app: TopApp, name: str) -> str:
    return str(app.query_one(name, Static).render())


async def test_it_shows_the_run_and_its_stages() -> None:
    """The line above says how far the run is, and what holds it; a name that looks like markup is a name."""
    run = Scripted()
    async with TopApp(run, 60).run_test() as pilot:
        app = pilot.app
        assert isinstance(app, TopApp)
        await seen(pilot, lambda: [row[0] for row in cells(app, "stages")] == ["write", "[b]read"])
        assert "3 of 4 (75%) ended" in said(app, "#head")
        assert "memory is short" in said(app, "#held")
    assert run.closed.wait(10)


async def test_sorting_goes_through_the_columns_and_can_be_turned() -> None:
    """`s` sorts by the next column, numbers with the largest first, and `r` the other way round."""
    async with TopApp(Scripted(), 60).run_test() as pilot:
        app = pilot.app
        assert isinstance(app, TopApp)
        await pilot.press(*"sssss")
        await seen(pilot, lambda: [row[4] for row in cells(app, "stages")] == ["5", "1"])
        await pilot.press("r")
        await seen(pilot, lambda: [row[4] for row in cells(app, "stages")] == ["1", "5"])


@pytest.mark.slow
async def test_a_filter_leaves_the_rows_that_have_the_text() -> None:
    """`/` asks for it, Escape shows all again; tasks are filtered where they are kept."""
    run = Scripted()
    async with TopApp(run, 60).run_test() as pilot:
        app = pilot.app
        assert isinstance(app, TopApp)
        await pilot.press("slash", *"WRIT", "enter")
        await seen(pilot, lambda: [row[0] for row in cells(app, "stages")] == ["write"])
        await turned_to(pilot, "tasks")
        await seen(pilot, lambda: bool(run.asked) and run.asked[-1][0].text == "WRIT")
        await pilot.press("escape")
        await seen(pilot, lambda: run.asked[-1][0].text is None)


@pytest.mark.slow
async def test_enter_shows_a_task_in_full() -> None:
    """What a terminal would act on is shown, not done; Escape goes back."""
    async with TopApp(Scripted(), 60).run_test() as pilot:
        app = pilot.app
        assert isinstance(app, TopApp)
        await turned_to(pilot, "failures")
        await seen(pilot, lambda: [row[2] for row in cells(app, "failures")] == ["no\\x1b[31m"])
        await pilot.press("enter")
        await seen(pilot, lambda: isinstance(app.screen, Detail))
        shown = str(app.screen.query_one(Static).render())
        assert "1 x ValueError" in shown
        assert "\\x1b[2Jhere" in shown
        assert "\x1b" not in shown
        await pilot.press("escape")
        await seen(pilot, lambda: not isinstance(app.screen, Detail))


@pytest.mark.slow
async def test_orders_go_to_a_run_that_takes_them() -> None:
    """Pause and go on, cancel what the cursor is on, and one worker more or fewer than there are."""
    run = Scripted(control=True)
    async with TopApp(run, 60).run_test() as pilot:
        app = pilot.app
        assert isinstance(app, TopApp)
        await seen(pilot, lambda: "p" in app.screen.active_bindings)
        await pilot.press("p")
        await seen(pilot, lambda: len(run.orders) == 1)
        await pilot.press("p")
        await seen(pilot, lambda: len(run.orders) == 2)
        await pilot.press("plus", "minus")
        await turned_to(pilot, "running")
        await seen(pilot, lambda: len(cells(app, "running")) == 1)
        await pilot.press("k")
        await seen(pilot, lambda: len(run.orders) == 5)
    resize = {"executor": "threads"}
    assert run.orders == [
        ("pause", {}),
        ("unpause", {}),
        ("resize", {**resize, "workers": 3}),
        ("resize", {**resize, "workers": 1}),
        ("cancel", {"task_id": "t9"}),
    ]


async def test_a_run_that_takes_no_orders_says_so() -> None:
    """Nothing is sent, their keys are not among those shown, and who presses one is told the way to have it."""
    run = Scripted()
    async with TopApp(run, 60).run_test() as pilot:
        app = pilot.app
        assert isinstance(app, TopApp)
        await seen(pilot, lambda: len(cells(app, "stages")) > 0)
        shown = {binding.binding.key for binding in app.screen.active_bindings.values()}
        assert "s" in shown
        assert not shown & {"p", "k", "plus", "minus"}
        await pilot.press("p")
        await seen(pilot, lambda: "control = true" in said(app, "#said"))
    assert run.orders == []


async def test_a_run_that_is_lost_stays_on_the_screen() -> None:
    """What was seen last stays, with a line that says why nothing new comes."""
    run = Scripted()
    async with TopApp(run, 60).run_test() as pilot:
        app = pilot.app
        assert isinstance(app, TopApp)
        run.lost = True
        await app.look()
        assert "does not answer" in said(app, "#said")
        assert "ended" in said(app, "#head")


async def double(number: int) -> int:
    if number == 3:
        raise ValueError("no")
    return number * 2


async def test_a_journal_is_watched_as_the_run_goes_on() -> None:
    """Its numbers are those of the run, and a task can be looked at."""
    journal = MemoryJournal()
    async with WorkerPool(WorkerConfig(), settings=Settings(probes=()), journal=journal) as pool:
        async for _ in pool.outcomes(double, range(5)):
            pass
        run_id = pool.run_id
    run = JournalRun(journal.archive(), run_id)
    picture = run.picture()
    assert (picture.snapshot.completed, picture.snapshot.failed, picture.state, picture.live) == (
        4,
        1,
        "completed",
        False,
    )
    [failed] = run.tasks(TaskFilter(states=["failed"]), "id", False).rows
    detail = run.task(failed.task_id)
    assert detail is not None
    assert "ValueError: no" in (detail.traceback or "")
    with pytest.raises(ConnectionError, match="link of its dashboard"):
        run.order("pause", {})
    run.close()


class _Page(http.server.BaseHTTPRequestHandler):
    """A page that lets in by its link, once, as the dashboard does."""

    got: list[tuple[str, str, bytes]]

    def do_GET(self) -> None:
        path = self.path
        if path == "/enter?code=right":
            self.send_response(303)
            self.send_header("Location", "/")
            self.send_header("Set-Cookie", "pass=1; HttpOnly; SameSite=Strict; Path=/")
            self.end_headers()
            return
        if "pass=1" not in (self.headers.get("Cookie") or ""):
            self._answer(401, {"error": "open the link that was printed"})
            return
        answers: dict[str, Any] = {
            "/api/run": {"run": {"live": True, "control": True}, "snapshot": msgspec.to_builtins(SNAPSHOT)},
            "/api/overview": {"stages": [{"name": "read", "executor": "threads", "total": 4}], "throughput": None},
            "/api/failures": [],
            "/api/workers": [],
        }
        if path.startswith("/api/tasks?"):
            self._answer(200, {"rows": [], "total": 0, "next": None, "path": path})
        elif path in answers:
            self._answer(200, answers[path])
        elif path == "/":
            self._answer(200, {})
        else:
            self._answer(404, {"error": "no such task"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((self.path, self.headers["x-longshore"], body))
        self._answer(200, {})

    def _answer(self, code: int, body: object) -> None:
        text = json.dumps(body, default=str).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def page() -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    got: list[tuple[str, str, bytes]] = []
    handler = type("Handler", (_Page,), {"got": got})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    thread.join(10)
    server.server_close()


async def test_a_page_is_watched_by_its_link(page: tuple[str, list[tuple[str, str, bytes]]]) -> None:
    """The link lets in; answers are those of the page, and orders go to it as it wants them."""
    link, got = page
    run = WebRun(f"{link}/enter?code=right")
    picture = run.picture()
    assert (picture.snapshot.completed, picture.live, picture.control) == (2, True, True)
    assert [stage.name for stage in picture.stages] == ["read"]
    assert run.tasks(TaskFilter(text="a b"), "run_s", True).total == 0
    assert run.task("gone/../x") is None
    run.order("resize", {"executor": "threads", "workers": 3})
    assert got == [("/api/control/resize", "1", b'{"executor":"threads","workers":3}')]


@pytest.mark.parametrize("code", ["wrong", ""])
async def test_who_is_not_let_in_is_told_why(page: tuple[str, list[tuple[str, str, bytes]]], code: str) -> None:
    """A link that was used before does not open, and says what to do."""
    link, _ = page
    with pytest.raises(ConnectionError, match="open the link that was printed"):
        WebRun(f"{link}/?code={code}")


async def test_nobody_there_and_no_link() -> None:
    """An address where nobody answers, and what is no address."""
    with pytest.raises(ConnectionError, match="does not answer"):
        WebRun("http://127.0.0.1:9/")
    with pytest.raises(UsageError, match="no address"):
        WebRun("file:///etc/passwd")


async def test_bad_arguments_are_named() -> None:
    """A period that is none; and no terminal to draw on."""
    with pytest.raises(UsageError, match="--every"):
        top("last", every=0.0)
    with pytest.raises(UsageError, match="needs a terminal"):
        top("last")


async def test_what_is_watched_is_a_recorded_run_or_a_link(
    monkeypatch: pytest.MonkeyPatch, page: tuple[str, list[tuple[str, str, bytes]]]
) -> None:
    """On a terminal it draws what was asked for; a link needs no journal, and one that does not let in says why."""
    drawn: list[tuple[object, float]] = []

    class Drawn:
        def __init__(self, watched: object, every_s: float) -> None:
            drawn.append((watched, every_s))

        def run(self) -> None: ...

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("longshore.cli.topapp.TopApp", Drawn)
    link, _ = page
    assert top(f"{link}/enter?code=right", every=2.0) == 0
    [(watched, every_s)] = drawn
    assert (type(watched), every_s) == (WebRun, 2.0)
    with pytest.raises(UsageError, match="a link needs none"):
        top(link, journal="here")
    with pytest.raises(LongshoreError, match="open the link that was printed"):
        top(f"{link}/?code=wrong")


async def test_without_textual_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line needs none of it but here."""
    monkeypatch.delitem(sys.modules, "longshore.cli.topapp")
    monkeypatch.setitem(sys.modules, "textual.app", None)
    with pytest.raises(UsageError, match=r"pip install 'longshore-core\[top\]'"):
        top("last")


async def test_durations_and_the_line_above() -> None:
    """Durations read at a glance at every length."""
    assert [seconds(one) for one in (None, 0.254, 12.34, 192.0, 7500.0)] == ["", "0.25s", "12.3s", "3m12s", "2h05m"]
    assert headline(Picture(snapshot=SNAPSHOT, state="completed")).startswith("job r1  completed  1m15s")
