"""What tests of the page share: a browser, pages that are watched for faults, runs told by hand or by a command."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from longshore.events import AnyEvent, TaskCompleted, TaskFailed, TaskStarted, TaskSubmitted
from longshore.records import (
    Happening,
    MetricsPoint,
    ResourceUse,
    RunHistory,
    RunInfo,
    RunSnapshot,
    RunSummary,
    StageSnapshot,
    ThrottleBand,
    WorkerCount,
)
from longshore_dashboard import DashboardSink
from longshore_dashboard._settings import DashboardSettings
from msgspec.structs import replace

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WAIT_MS = 20_000
STAGES = {"extract": 0.4, "chunk": 0.05, "embed": 0.15}
"""The stages of the runs told here, with about how long one takes."""
_VIOLATIONS = """
    window.violations = [];
    addEventListener("securitypolicyviolation", (event) => {
        window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
    });
"""


def playwright_api() -> Any:  # Any: playwright's
    """Return what drives browsers; without it the test is skipped."""
    return pytest.importorskip("playwright.sync_api", reason="no playwright here: uv sync --group pages")


@pytest.fixture(scope="module")  # playwright has a loop on this thread, beside which no other test could run its own
def browser() -> Iterator[Any]:  # Any: playwright's, which need not be here
    """Return a Chromium; without one the test is skipped."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with playwright_api().sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Site:
    """Pages that are served, and browsers that look at them; `faults` is what they complained of."""

    def __init__(self, browser: Any, link: str) -> None:  # Any: playwright's
        self.browser = browser
        self.faults: list[str] = []
        with self.context() as context:
            page = context.new_page()
            page.goto(link)
            self.base = page.url
            self.state = context.storage_state()
        self.faults.clear()

    state: Any = None  # Any: playwright's

    @contextmanager
    def context(self, scheme: str = "light", **options: Any) -> Iterator[Any]:  # Any: playwright's
        """Open a browser of its own, that has been let in."""
        options = {"viewport": {"width": 1360, "height": 860}, "storage_state": self.state, **options}
        context = self.browser.new_context(color_scheme=scheme, reduced_motion="reduce", **options)
        context.set_default_timeout(WAIT_MS)
        context.add_init_script(_VIOLATIONS)
        context.on("request", lambda request: self._is_ours(request.url))
        context.on("console", self._hear)
        context.on("weberror", lambda error: self.faults.append(error.error.stack or str(error.error)))
        try:
            yield context
        finally:
            for page in context.pages:
                self.faults += page.evaluate("window.violations ?? []")
            context.close()

    def _hear(self, said: Any) -> None:  # Any: playwright's
        if said.type in ("error", "warning"):
            self.faults.append(said.text)

    def _is_ours(self, url: str) -> None:
        if hasattr(self, "base") and not url.startswith((self.base, "data:")):
            self.faults.append(f"asked for {url}")

    def open(self, context: Any, query: str = "") -> Any:  # Any: playwright's
        """Open a page, and wait until it is drawn."""
        page = context.new_page()
        page.goto(self.base + query)
        drawn(page)
        return page


def drawn(page: Any) -> None:  # Any: playwright's
    """Wait until nothing of a page is still being read."""
    page.wait_for_selector(".main h1")
    playwright_api().expect(page.locator(".reading, [aria-busy=true]")).to_have_count(0, timeout=WAIT_MS)


@pytest.fixture
def site(browser: Any) -> Iterator[Callable[[str], Site]]:  # Any: playwright's
    """Return what visits a link; what its browsers complained of fails the test."""
    sites: list[Site] = []

    def visit(link: str) -> Site:
        sites.append(Site(browser, link))
        return sites[-1]

    yield visit
    assert [fault for one in sites for fault in one.faults] == []


class Told:
    """A run that a test tells by hand, served by the sink; `orders` is what pages have asked of it."""

    def __init__(self, history: RunHistory, most: int = 32, name: str = "documents") -> None:
        self.orders: list[tuple[Any, ...]] = []
        self.started = history.points_fine[0].at if history.points_fine else datetime.now(UTC) - timedelta(minutes=5)
        self.snapshot = RunSnapshot(run_id="20260830T101500-4f2a91", name=name, started=self.started, elapsed_s=300.0)
        self.sink = DashboardSink(DashboardSettings(announce=False, control=True, max_clients=most))
        run = RunInfo(
            run_id=self.snapshot.run_id,
            started=self.started,
            name=name,
            snapshot=lambda: self.snapshot,
            control=self,
            history=lambda: history,
            summary=lambda: self.over,
        )
        self.sink.open(run)

    over: RunSummary | None = None
    """How it ended, while its pages stay."""

    def tell(self, events: Sequence[AnyEvent]) -> None:
        """Tell events, in batches as a pool does."""
        for begin in range(0, len(events), 500):
            self.sink.on_events(events[begin : begin + 500])

    def end(self) -> None:
        """End the pages with the run; a second time does nothing."""
        self.sink.close(self.over or RunSummary(snapshot=self.snapshot, state="completed"))

    def cancel(self, task_id: str) -> None:
        self.orders.append(("cancel", task_id))

    def pause(self) -> None:
        self.orders.append(("pause",))
        self.snapshot = replace(self.snapshot, paused=True)

    def unpause(self) -> None:
        self.orders.append(("unpause",))
        self.snapshot = replace(self.snapshot, paused=False)

    def resize(self, executor: str, workers: int) -> None:
        self.orders.append(("resize", executor, workers))


@pytest.fixture
def told() -> Iterator[Callable[..., Told]]:
    """Return what begins a run told by hand; it is over with the test."""
    runs: list[Told] = []

    def begin(history: RunHistory | None = None, most: int = 32) -> Told:
        runs.append(Told(history or RunHistory(), most))
        return runs[-1]

    yield begin
    for run in runs:
        run.end()


ERRORS: tuple[tuple[str, str, str | None, str, dict[str, Any]], ...] = (  # Any: an event's fields
    ("pypdf.errors.PdfReadError", "EOF marker not found in scans/{n}.pdf", None, "failed", {}),
    ("longshore.errors.WorkerDied", "the worker ended by signal 9 (SIGKILL)", "signal", "failed", {"signal": 9}),
    ("longshore.errors.TaskTimeout", "ran for more than 5.0 s", "timeout", "timed_out", {}),
    ("builtins.UnicodeDecodeError", "'utf-8' codec can't decode byte 0xe9 in position {n}", None, "failed", {}),
)
_TRACE = 'Traceback (most recent call last):\n  File "/srv/app/read.py", line 41, in extract\n    return read(path)\n'


def schedule(documents: int, begin: datetime, workers: int = 6, seed: int = 7) -> list[AnyEvent]:
    """Return the events of documents that go through three stages, on workers that take what comes next."""
    dice = random.Random(seed)
    free = [0.0] * workers
    events: list[AnyEvent] = []
    for number in range(documents):
        ready, failed = 0.0, False
        for stage, mean_s in STAGES.items():
            if failed:
                break
            place = min(range(workers), key=lambda one: free[one])
            starts = max(free[place], ready)
            ran_s = mean_s * dice.lognormvariate(0, 0.7)
            failed = stage == "extract" and dice.random() < 0.06
            free[place] = ready = starts + ran_s
            events += _attempt(dice, stage, number, (begin, starts, ran_s), place, failed=failed)
    return sorted(events, key=lambda event: event.at)


def _attempt(
    dice: random.Random, stage: str, number: int, times: tuple[datetime, float, float], place: int, *, failed: bool
) -> list[AnyEvent]:
    begin, starts, ran_s = times
    at: dict[str, Any] = {"seq": 0, "name": stage, "executor": "processes", "priority": 2}  # Any: an event's fields
    at |= {"task_id": f"{stage}-{number}", "key": f"scans/{number:05}.pdf"}
    end = {**at, "at": begin + timedelta(seconds=starts + ran_s), "wait_s": min(starts, 0.2), "duration_s": ran_s}
    end |= {"worker_id": f"process-{place}", "cpu_s": ran_s * 0.9, "peak_memory_mb": 60 + 300 * ran_s}
    asked = begin + timedelta(seconds=max(0.0, starts - 0.2))
    return [
        TaskSubmitted(**at, at=asked, group=f"documents-{number}"),
        TaskStarted(**at, at=begin + timedelta(seconds=starts)),
        _failed(dice, number, end) if failed else TaskCompleted(**end),
    ]


def _failed(dice: random.Random, number: int, end: dict[str, Any]) -> TaskFailed:  # Any: an event's fields
    error, message, reason, state, more = dice.choices(ERRORS, (9, 2, 3, 5))[0]
    said = message.format(n=number)
    trace = f"{_TRACE}{error}: {said}\n"
    return TaskFailed(
        **end,
        error=error,
        message=said,
        reason=reason,
        state=state,
        traceback=trace,
        output_tail="reading page 3\n",
        **more,
    )


def measured(begin: datetime, seconds: int = 300) -> RunHistory:
    """Return what was measured over a run that was held back twice, point by point."""
    dice = random.Random(3)
    points, cpu, memory = [], 50.0, 30.0
    for second in range(seconds):
        cpu = min(97.0, max(12.0, cpu + dice.gauss(0, 5)))
        memory = min(81.0, max(25.0, memory + dice.gauss(0.15, 0.8)))
        usage = {
            "cpu": ResourceUse(cpu, 80.0, cpu),
            "memory": ResourceUse(memory, 75.0, memory),
            "gpu": ResourceUse(max(0.0, cpu - 20), 90.0, 0.0),
            "disk_io": ResourceUse(None, None, max(0.0, dice.gauss(40, 12)), "MB/s"),
        }
        points.append(
            MetricsPoint(
                at=begin + timedelta(seconds=second),
                queued=max(0, 220 - second),
                running=6,
                completed=second * 8,
                rate_per_s=max(0.0, dice.gauss(8, 1.5)),
                usage=usage,
                workers={"processes": WorkerCount(6, dice.randint(3, 6))},
                queue={"processes": {"normal": max(0, 200 - second), "high": dice.randint(0, 4)}},
            )
        )
    reasons = {
        (40, 71): "cpu 92.1 % used is over the limit of 80 %: nothing new starts",
        (180, 204): "memory 12.3 of 16.0 GB is over the limit of 75 %: nothing new starts",
    }
    bands = [
        ThrottleBand(reason=reason, began=begin + timedelta(seconds=since), ended=begin + timedelta(seconds=until))
        for (since, until), reason in reasons.items()
    ]
    died = begin + timedelta(seconds=93)
    noted = Happening(
        type="worker_error", subject="process-3", reason="ended by signal 9 (SIGKILL)", began=died, ended=died
    )
    return RunHistory(fine_s=1.0, minute_s=60.0, points_fine=points, bands=bands, happenings=[noted])


def standing(run: Told, events: Sequence[AnyEvent]) -> RunSnapshot:
    """Return the snapshot that fits these events, for a run told by hand."""
    ended = [event for event in events if isinstance(event, TaskCompleted | TaskFailed)]
    failed = [event for event in ended if isinstance(event, TaskFailed)]
    submitted = sum(isinstance(event, TaskSubmitted) for event in events)
    stages = [StageSnapshot(name=name, executor="processes", rate_per_s=2.7) for name in STAGES]
    running = submitted - len(ended)
    return RunSnapshot(
        run_id=run.snapshot.run_id,
        name=run.snapshot.name,
        started=run.started,
        elapsed_s=300.0,
        total=submitted + 600,
        submitted=submitted,
        running=running,
        completed=len(ended) - len(failed),
        failed=len(failed),
        timed_out=sum(event.state == "timed_out" for event in failed),
        rate_per_s=8.1,
        eta_low_s=62.0,
        eta_high_s=118.0,
        stages=stages,
    )


@pytest.fixture
def pictures(request: pytest.FixtureRequest) -> Path | None:
    """Return where pictures for the docs go: DASHBOARD_PICTURES names the folder; None without it."""
    folder = os.environ.get("DASHBOARD_PICTURES")
    return request.config.rootpath / folder if folder else None


@pytest.fixture
def made() -> tuple[Any, ...]:  # Any: functions, each with its own types
    """Return what makes the events, the history and the snapshot of a run: test folders are no packages."""
    return schedule, measured, standing, drawn
