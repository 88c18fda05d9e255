"""`longshore serve` and `longshore run --dashboard`: a run in the browser, from its journal and while it goes on."""

from __future__ import annotations

import http.client
import importlib.metadata
import io
import json
import re
import signal
import socket
import tempfile
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import distributions
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest
from support.waiting import wait_until

Command = Any  # the fixtures' classes: test modules cannot import a conftest
QUIET = ("--progress", "none", "--executor", "threads")
DEADLINE_S = 30.0


class Browser:
    """Comes in by the link that a command prints."""

    def __init__(self, stderr: IO[bytes]) -> None:
        """Wait for the link, and use it."""
        self.said = b""
        while (found := re.search(rb"http://([0-9.]+:\d+)(/\S*)", self.said)) is None:
            line = stderr.readline()
            assert line, f"no link was printed: {self.said!r}"
            self.said += line
        self.authority = found[1].decode()
        entered = self._ask(found[2].decode(), {})
        self._cookie = {"Cookie": str(entered.getheader("set-cookie")).partition(";")[0]}

    def read(self, path: str) -> Any:  # Any: JSON
        """Return what is at a path."""
        return json.loads(self._ask(path, self._cookie).read())

    def _ask(self, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self.authority, timeout=DEADLINE_S)
        connection.request("GET", path, headers={**headers, "Connection": "close"})
        return connection.getresponse()


def recorded(inside: Command, **contents: str) -> str:
    """Run once, and return the run's id."""
    inside.inputs(contents)
    found = re.search(r"recorded as run (\S+)", inside("run", "job:picky", "in", *QUIET)[2])
    assert found is not None
    return found[1]


def until(visit: Callable[[], None]) -> SimpleNamespace:
    """Return what `serve` is to have for `threading`: whoever waits by it looks at the pages, and presses Ctrl-C."""

    class Interrupted:
        def wait(self, timeout: float | None = None) -> None:
            visit()
            signal.raise_signal(signal.SIGINT)

    return SimpleNamespace(Event=Interrupted)


def test_a_run_that_is_over_is_shown_until_ctrl_c(
    inside: Command, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Its tasks, failures and state are those of the journal; nothing is left of the pages afterwards."""
    run_id = recorded(inside, a="1", b="raise", c="2")
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    visited = []

    def visit() -> None:
        browser = Browser(io.BytesIO(capfd.readouterr().err.encode()))
        head = browser.read("/api/run")
        assert (head["run"]["run_id"], head["state"], head["run"]["live"]) == (run_id, "completed", False)
        assert (head["run"]["control"], head["snapshot"]["submitted"]) == (False, 3)
        rows = {row["key"]: row for row in browser.read("/api/tasks")["rows"]}
        assert {Path(key).name: row["state"] for key, row in rows.items()} == {
            "a": "completed",
            "b": "failed",
            "c": "completed",
        }
        [failure] = browser.read("/api/failures")
        assert (failure["count"], failure["reason"]) == (1, "encrypted")
        assert {entry["key"] for entry in browser.read("/api/plugins")["settings"]} >= {"executor"}
        visited.append(head)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(import_module("longshore.cli.serve"), "threading", until(visit))
    code, out, errors = inside("serve", run_id[:14])
    assert (code, out, len(visited)) == (0, "", 1), errors
    assert "the pages are closed" in errors
    assert "Traceback" not in errors
    assert list(place.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_a_run_that_goes_on_is_shown_as_it_goes_on(longshore: Command) -> None:
    """What its process records comes to be shown, its end too."""
    longshore.inputs(["a", "b", "c"])
    running = longshore.start("run", "job:held", "in", "--workers", "3", *QUIET, "-o", "out.jsonl")
    wait_until(lambda: len(list(longshore.folder.glob("started-*"))) == 3, "the tasks to begin")
    serving = longshore.start("serve")
    browser = Browser(serving.stderr)
    head = browser.read("/api/run")
    assert (head["state"], head["run"]["live"]) == ("running", True)
    (longshore.folder / "go").touch()
    assert running.wait(DEADLINE_S) == 0
    wait_until(lambda: browser.read("/api/run")["state"] == "completed", "the end of the run")
    states = [row["state"] for row in browser.read("/api/tasks")["rows"]]
    assert states == ["completed"] * 3
    serving.terminate()
    assert serving.wait(DEADLINE_S) == 0


@pytest.mark.slow
def test_run_shows_itself_where_asked(longshore: Command) -> None:
    """`--dashboard` prints a link; the pages are there while the run goes on, and it ends as ever."""
    longshore.inputs(["a", "b"])
    process = longshore.start("run", "job:held", "in", "--workers", "2", *QUIET, "--dashboard", "-o", "out.jsonl")
    browser = Browser(process.stderr)
    wait_until(lambda: browser.read("/api/run")["snapshot"]["running"] == 2, "both to run")
    (longshore.folder / "go").touch()
    assert process.wait(DEADLINE_S) == 0
    assert len((longshore.folder / "out.jsonl").read_text().splitlines()) == 2


def test_what_cannot_be_shown_is_said(inside: Command) -> None:
    """A run that is not there, a plugin that is not, a setting that is wrong, and a port that is taken: exit code 2."""
    code, out, err = inside("serve")
    assert (code, out) == (2, "")
    assert "no run is recorded" in err
    recorded(inside, a="1")
    for arguments, said in (
        (("serve", "nope"), "no run nope"),
        (("serve", "--set", "sinks.dashboard.prot=1"), "did you mean port"),
        (("serve", "--set", "sinks.dashboard.host='0.0.0.0'"), "allow_remote"),
    ):
        code, out, err = inside(*arguments)
        assert (code, out) == (2, ""), err
        assert said in err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, _, err = inside("serve", "--port", port)
        assert code == 2
        assert f"127.0.0.1 port {port}" in err


def test_without_the_plugin_it_is_named(inside: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lacks it is told what to install, by `serve` and by `run --dashboard`."""
    recorded(inside, a="1")
    there = [one for one in distributions() if one.name != "longshore-dashboard"]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: there)
    for arguments in (("serve",), ("run", "job:picky", "in", *QUIET, "--dashboard")):
        code, out, err = inside(*arguments)
        assert (code, out) == (2, "")
        assert "pip install longshore-dashboard" in err
