"""Names, keys and exceptions that try to be a part of the page (fault:E5) are shown as the text they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from longshore.events import AnyEvent, TaskCompleted, TaskFailed, TaskRetried, TaskStarted, TaskSubmitted
from longshore.records import (
    FailureGroup,
    Happening,
    MetricsPoint,
    ResourceUse,
    RunHistory,
    RunningTask,
    RunSnapshot,
    StageSnapshot,
    ThrottleBand,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
BEGIN = datetime(2026, 8, 30, 10, 0, tzinfo=UTC)
CORPUS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    '"><svg onload=alert(3)>',
    "javascript:alert(4)",
    "';alert(5);//",
    "{{constructor.constructor('alert(6)')()}}",
    "<style>*{display:none}</style>",
    "<iframe srcdoc='<script>alert(7)</script>'></iframe>",
    "${alert(8)}",
    "<a href=javascript:alert(9)>click</a>",
    "</title></textarea><script>alert(10)</script>",
    "&lt;b&gt; &amp; %3Cscript%3E",
    "\u202egpj.exe\u202c \u0000\u0007\u001b[31m",
    "__proto__",
    "a" * 3000,
)
PAGES = ("overview", "timeline", "timeline&by=stages", "tasks", "failures", "workers", "resources", "settings", "logs")


def events() -> list[AnyEvent]:
    """Return tasks whose every text is one of these."""
    found: list[AnyEvent] = []
    for number, text in enumerate(CORPUS):
        at: dict[str, Any] = {
            "seq": 0,
            "at": BEGIN,
            "task_id": f"t{number}/{text}",
            "name": text,
            "executor": text,
            "priority": 2,
            "key": text,
        }
        end = {**at, "wait_s": 0.1, "duration_s": 0.5, "worker_id": text}
        found += [
            TaskSubmitted(**at, group=text),
            TaskStarted(**at),
            TaskRetried(**at, error=text, message=text, worker_id=text),
        ]
        if number % 2:
            found.append(TaskCompleted(**end))
        else:
            found.append(
                TaskFailed(**end, error=text, message=text, reason=text, traceback=text, output_tail=text, signal=9)
            )
    return found


_ELEMENTS = """[...document.querySelectorAll("body *")]
    .map((one) => one.tagName.toLowerCase() + " " + one.getAttributeNames().join(" "))"""


def everything(run_id: str) -> RunSnapshot:
    stages = [StageSnapshot(name=text, executor=text) for text in CORPUS]
    running = [
        RunningTask(task_id=text, name=text, executor=text, running_s=1.0, label=text, message=text) for text in CORPUS
    ]
    groups = [FailureGroup(type=text, message=text, reason=text, count=1, labels=CORPUS) for text in CORPUS]
    many = len(CORPUS)
    return RunSnapshot(
        run_id=run_id,
        name=CORPUS[0],
        started=BEGIN,
        elapsed_s=5.0,
        submitted=many,
        completed=many // 2,
        failed=many - many // 2,
        stages=stages,
        slowest=running,
        failures=groups,
        throttled=CORPUS[1],
    )


def history() -> RunHistory:
    point = MetricsPoint(
        at=BEGIN, usage={text: ResourceUse(10.0, 20.0) for text in CORPUS}, queue={text: {text: 1} for text in CORPUS}
    )
    spans = [ThrottleBand(reason=text, began=BEGIN) for text in CORPUS]
    noted = [Happening(type=text, subject=text, reason=text, began=BEGIN) for text in CORPUS]
    return RunHistory(points_fine=[point, point], bands=spans, happenings=noted)


def test_texts_of_tasks_stay_texts(told: Callable[..., Any], site: Callable[[str], Any]) -> None:
    """On no page does a text make an element, run, or ask for anything; what is shown is what it was."""
    run = told(history())
    run.snapshot = everything(run.snapshot.run_id)
    run.tell(events())
    shown = site(run.sink.link())
    with shown.context() as context:
        context.on("dialog", lambda dialog: shown.faults.append(f"a dialog: {dialog.message}"))
        for query in (
            *(f"?page={page}" for page in PAGES),
            "?page=tasks&q=%3Cscript%3E&name=%3Cimg%20src=x%3E&worker=%22%3E%3Cb%3E",
        ):
            page = shown.open(context, query)
            page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            found = page.evaluate(_ELEMENTS)
            assert [one for one in found if re.search(r"^(script|style|iframe|img|textarea) | on\w+", one)] == [], query
            hrefs = page.evaluate("[...document.links].map((one) => one.protocol)")
            assert set(hrefs) <= {"http:"}
            page.close()
        page = shown.open(context, "?page=failures")
        said = page.locator(".main").inner_text()
        assert all(text in said for text in CORPUS[:11:2])
        page.close()
        page = shown.open(context, "?page=tasks&sort=id")
        for number in (0, 2, 4):
            page.locator("tbody tr").nth(number).locator("a").first.click()
            page.wait_for_selector(".facts-list")
            assert CORPUS[number] in page.locator("h1").inner_text()
            assert CORPUS[number] in page.locator("pre").first.inner_text()
            page.go_back()
            page.wait_for_selector("tbody tr")


def test_a_script_that_got_in_would_not_run(told: Callable[..., Any], site: Callable[[str], Any]) -> None:
    """What were put into the page as a script, a handler or a style is refused by the rules that come with it."""
    run = told()
    shown = site(run.sink.link())
    with shown.context() as context:
        page = shown.open(context)
        page.evaluate("""() => {
            const [script, image, style] = ["script", "img", "style"].map((name) => document.createElement(name));
            script.textContent = "window.ran = 1";
            image.setAttribute("onerror", "window.ran = 2");
            image.src = "data:image/png,none";
            style.textContent = "body { display: none }";
            document.body.append(script, image, style);
        }""")
        page.wait_for_timeout(300)
        assert page.evaluate("window.ran ?? 'nothing'") == "nothing"
        assert page.locator("h1").is_visible()
        kinds = {one.split()[0] for one in page.evaluate("window.violations")}
        assert kinds == {"script-src-elem", "script-src-attr", "style-src-elem"}
    shown.faults.clear()  # what was refused is what this is about
