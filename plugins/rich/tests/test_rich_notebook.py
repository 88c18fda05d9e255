"""The notebook view: what it shows where a kernel is, by a stand-in for `IPython.display`."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from html.parser import HTMLParser
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from longshore.records import Alert, FailureGroup, RunInfo, RunningTask, RunSnapshot, RunSummary, StageSnapshot
from longshore_rich import RichSink

Maker = Callable[..., RunSnapshot]
RunMaker = Callable[..., RunInfo]
DEADLINE_S = 10.0


class Notebook(ModuleType):
    """Stands in for `IPython` and `IPython.display`: keeps what each output shows, and how often it was replaced."""

    def __init__(self, kernel: object) -> None:
        super().__init__("IPython")
        self.outputs: dict[str, dict[str, str]] = {}
        self.replaced = 0
        self.shell: object = SimpleNamespace(kernel=kernel) if kernel else SimpleNamespace()

    def get_ipython(self) -> object:
        return self.shell

    def display(self, bundle: dict[str, str], *, raw: bool, display_id: str) -> None:
        assert raw
        assert display_id not in self.outputs
        self.outputs[display_id] = bundle

    def update_display(self, bundle: dict[str, str], *, raw: bool, display_id: str) -> None:
        assert raw
        assert display_id in self.outputs
        self.outputs[display_id] = bundle
        self.replaced += 1

    @property
    def html(self) -> str:
        (output,) = self.outputs.values()
        return output["text/html"]


class Reader(HTMLParser):
    """Keeps the names of all elements, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[Any]) -> None:
        self.elements.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    fake = Notebook(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", fake)
    monkeypatch.setitem(sys.modules, "IPython.display", fake)
    return fake


@pytest.mark.slow
def test_a_notebook_shows_one_output_that_is_replaced(
    notebook: Notebook, snapshot_with: Maker, run_of: RunMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run has one output, replaced by time and not by event; the last, which stays, is the summary and the stages."""
    sink = RichSink(RichSink.Settings(refresh_hz=30))
    began = time.monotonic()
    sink.open(run_of(snapshot_with))
    assert "longshore run 01JC3KQ7" in notebook.html
    for _ in range(10_000):
        sink.on_events([])
    while notebook.replaced < 2:
        assert time.monotonic() < began + DEADLINE_S
        threading.Event().wait(0.01)
    shown = Reader(notebook.html).text
    assert "2,341/9,016 25%, eta 8m00s-12m00s" in shown
    assert "throttled: parse held at 6 of 8 workers" in shown
    assert "slowest now: a.pdf parse 12s 40%" in shown
    assert "failed: 15x OCRError: tesseract init" in shown
    assert "cpu 78% | memory 13.1GB/14.0GB | disk 120MB/s" in shown
    sink.close(RunSummary(snapshot=snapshot_with(), state="completed"))
    assert notebook.replaced - 1 <= 2 * (time.monotonic() - began)  # twice a second at most, and the end
    last = Reader(notebook.html)
    assert "longshore run 01JC3KQ7 completed in 3m12s: 2,341 tasks in 2 stages" in last.text
    assert "3,355/5,500 61%" in last.text
    assert "slowest now" not in last.text
    assert "throttled" not in last.text
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("longshore-rich")]
    assert capsys.readouterr() == ("", "")


def test_nothing_in_a_name_becomes_html(
    notebook: Notebook,
    snapshot_with: Maker,
    run_of: RunMaker,
    alert_of: Callable[..., Alert],
    hostile: list[str],
) -> None:
    """Names are text, in what is shown meanwhile and in what stays: escaped, and with controls spelled out."""
    evil = '<script>alert("1")</script><img src=x onerror=alert(1)>&amp;'
    names = [*hostile, evil]
    snapshot = snapshot_with(
        name=evil,
        run_id=evil,
        throttled=evil,
        stages=[StageSnapshot(name=name, executor=name) for name in names],
        slowest=[RunningTask(task_id=n, name=n, executor=n, running_s=1, label=n, message=n) for n in names[::-1]],
        failures=[FailureGroup(type=n, message=n, reason=n, count=2, labels=[n]) for n in names[::-1]],
        usage={evil: snapshot_with().usage["cpu"]},
        alerts=[alert_of("resource", subject=n, message=n) for n in names],
    )
    sink = RichSink(RichSink.Settings(refresh_hz=0.01))
    sink.open(run_of(lambda: snapshot))
    meanwhile = notebook.html
    sink.close(RunSummary(snapshot=snapshot, state=evil, error=evil, notes=names))
    for html in (meanwhile, notebook.html):
        read = Reader(html)
        assert read.elements <= {"div", "b", "table", "tr", "th", "td", "progress"}
        assert evil in read.text
        assert not any(ord(char) < 0x20 or 0x7F <= ord(char) <= 0x9F or char in "\u202e\u200b" for char in read.text)
        html.encode("utf-8")


def test_an_output_stays_bounded(notebook: Notebook, snapshot_with: Maker, run_of: RunMaker) -> None:
    """A thousand stages are counted rather than written into the notebook."""
    snapshot = snapshot_with(stages=[StageSnapshot(name=f"s{n}", executor="e") for n in range(1000)])
    sink = RichSink(RichSink.Settings(refresh_hz=0.01))
    sink.open(run_of(lambda: snapshot))
    sink.close(RunSummary(snapshot=snapshot, state="completed"))
    assert "+900 more stages" in notebook.html
    assert len(notebook.html) < 50_000


@pytest.mark.parametrize("view", ["lines", "json"])
def test_another_view_can_be_asked_for(
    notebook: Notebook, snapshot_with: Maker, run_of: RunMaker, capsys: pytest.CaptureFixture[str], view: str
) -> None:
    """Lines and JSON go to standard error in a notebook as well."""
    sink = RichSink()
    sink.open(run_of(snapshot_with, view=view))
    sink.close(RunSummary(snapshot=snapshot_with(), state="completed"))
    assert notebook.outputs == {}
    assert "01JC3KQ7" in capsys.readouterr().err


@pytest.mark.parametrize("shell", [None, SimpleNamespace()])
def test_ipython_on_a_terminal_is_a_terminal(
    notebook: Notebook, snapshot_with: Maker, run_of: RunMaker, shell: object
) -> None:
    """Without a kernel there is no notebook: IPython on a terminal, or IPython merely imported by somebody."""
    notebook.shell = shell
    sink = RichSink()
    sink.open(run_of(snapshot_with))
    sink.close(RunSummary(snapshot=snapshot_with(), state="completed"))
    assert notebook.outputs == {}


@pytest.mark.slow
def test_an_output_that_cannot_be_replaced_is_told_to_the_host(
    notebook: Notebook, snapshot_with: Maker, run_of: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A front end that is gone ends the updates, and is raised at the next batch."""

    def gone(*args: object, **options: object) -> None:
        raise ConnectionError("the kernel has no front end")

    monkeypatch.setattr(notebook, "update_display", gone)
    sink = RichSink(RichSink.Settings(refresh_hz=30))
    sink.open(run_of(snapshot_with))
    deadline = time.monotonic() + DEADLINE_S
    while sink._view.error is None:
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    with pytest.raises(ConnectionError):
        sink.on_events([])
