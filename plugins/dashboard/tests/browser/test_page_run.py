"""The page of a run of documents in processes, by the command: every page, in both themes, against the journal."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
PAGES = ("overview", "timeline", "tasks", "failures", "workers", "resources", "settings", "logs")
DEADLINE_S = 60.0
LONGSHORE = [sys.executable, "-m", "longshore"]
HOSTILE = "<b onmouseover=alert(1)>.docx"


class Run(NamedTuple):
    run_id: str
    link: Callable[[], str]
    """A link that is good for one visit."""
    recorded: Callable[..., Any]  # Any: JSON
    """What a command says of the journal."""


class Command:
    """`longshore` in a folder, and the lines that it says while it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.links: queue.Queue[str] = queue.Queue()
        self.done = threading.Event()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [*LONGSHORE, *arguments]
        return subprocess.Popen(command, cwd=self.folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)

    def read(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.lines.append(line)
            for word in line.split():
                if "?code=" in word:
                    self.links.put(word)
            if " inputs, " in line:
                self.done.set()

    def recorded(self, *asked: str) -> Any:  # Any: JSON
        command = [*LONGSHORE, *asked, "--journal", "journal", "--json"]
        return json.loads(subprocess.run(command, cwd=self.folder, capture_output=True, timeout=DEADLINE_S).stdout)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Run]:
    """Run the documents of the docs, and two that are none."""
    command = Command(tmp_path_factory.mktemp("documents"))
    papers = command.folder / "papers"
    shutil.copytree(request.config.rootpath / "docs" / "examples" / "documents", papers)
    (papers / "torn.pdf").write_bytes(b"%PDF-1.7\n1 0 obj\n")
    (papers / HOSTILE).write_bytes(b"PK\x03\x04 no more of it")
    options = [
        "--executor",
        "processes",
        "--workers",
        "2",
        "--sink",
        "dashboard",
        "--set",
        "sinks.dashboard.linger_s=200",
    ]
    with command.start("run", "documents", "papers", "-o", "out.jsonl", "--journal", "journal", *options) as process:
        assert process.stderr is not None
        reader = threading.Thread(target=command.read, args=(iter(process.stderr),))
        reader.start()
        try:
            assert command.done.wait(DEADLINE_S), command.lines
            run_id = next(line.split()[-1] for line in command.lines if "recorded as run" in line)
            yield Run(run_id, lambda: command.links.get(timeout=DEADLINE_S), command.recorded)
        finally:
            process.terminate()
            process.wait(DEADLINE_S)
            reader.join(DEADLINE_S)


def numbers(page: Any, selector: str) -> list[int]:  # Any: playwright's
    return [int(text.replace(",", "")) for text in page.locator(selector).all_inner_texts()]


def test_the_page_shows_what_the_journal_has(run: Run, site: Callable[[str], Any]) -> None:
    """Totals, stages, tasks and failures on the page are those that are recorded, and it says that the run is over."""
    counts = run.recorded("runs", "list")[0]["counts"]
    groups = run.recorded("failures", run.run_id)
    shown = site(run.link())
    with shown.context() as context:
        page = shown.open(context)
        head = page.locator(".facts").inner_text()
        assert f"{counts['completed']} completed" in head
        assert f"{counts['failed']} failed" in head
        assert page.locator(".live").count() == 0
        completed = numbers(page, 'section[aria-label=Stages] a[href*="state=completed"]')
        assert sum(completed) == counts["completed"]
        page = shown.open(context, "?page=tasks&state=failed")
        assert page.locator("tbody tr").count() == counts["failed"] == sum(group["count"] for group in groups)
        page = shown.open(context, "?page=failures")
        assert sorted(numbers(page, ".group .count")) == sorted(group["count"] for group in groups)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_drawn_and_usable_by_everybody(run: Run, site: Callable[[str], Any], scheme: str) -> None:
    """No page errs, asks for anything elsewhere, breaks its own rules of content, or has what axe calls serious."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    shown = site(run.link())
    found = {}
    with shown.context(scheme) as context:
        for name in PAGES:
            page = shown.open(context, f"?page={name}")
            page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            assert page.locator(".error").count() == 0
            judged = axe.run(page).response
            assert len(judged["passes"]) > 10
            found[name] = [
                (one["id"], one["nodes"][0]["html"][:200])
                for one in judged["violations"]
                if one["impact"] in ("serious", "critical")
            ]
            page.close()
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_what_tasks_are_called_is_shown_as_text(run: Run, site: Callable[[str], Any]) -> None:
    """The name of a file is never taken for a part of the page, wherever it is shown."""
    shown = site(run.link())
    with shown.context() as context:
        page = shown.open(context, "?page=tasks&state=failed&q=onmouseover")
        assert HOSTILE in page.locator("tbody tr td").first.inner_text()
        page.locator("tbody tr td a").first.click()
        page.wait_for_selector(".facts-list")
        assert HOSTILE in page.locator("h1").inner_text()
        assert page.locator("b[onmouseover]").count() == 0
