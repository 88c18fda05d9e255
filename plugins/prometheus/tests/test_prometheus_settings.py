"""Where it listens and who has the token: what is refused before anything is served, and what lasts after a run."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from longshore.records import RunInfo
from longshore_prometheus import PrometheusSink
from longshore_prometheus._token import default_path, token_of
from msgspec.structs import replace
from pydantic import ValidationError

Served = Callable[..., PrometheusSink]
Scrape = Callable[..., Any]
Settings = PrometheusSink.Settings
TOKEN = "0123456789abcdef0123456789abcdef"
posix = pytest.mark.skipif(os.name == "nt", reason="owners and modes of files are those of POSIX")


def port_of(sink: PrometheusSink) -> int:
    return int(sink.url.rpartition(":")[2].removesuffix("/metrics"))


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"host": "0.0.0.0"}, "allow_remote = true"),
        ({"host": "::", "token": TOKEN}, "allow_remote = true"),
        ({"host": "quay.example"}, "allow_remote = true"),
        ({"host": "0.0.0.0", "allow_remote": True, "token": False}, "loopback only"),
        ({"token": "short"}, "16 to 512"),
        ({"token": "sixteen or more, with blanks"}, "16 to 512"),
        ({"token": "a" * 20 + "\r\nX: y"}, "16 to 512"),
        ({"token": True}, "token"),
        ({"token": TOKEN, "token_file": "x"}, "one of them"),
        ({"buckets_s": []}, "1 to 50"),
        ({"buckets_s": [1.0, 0.5]}, "1 to 50"),
        ({"buckets_s": [1.0, float("inf")]}, "1 to 50"),
        ({"buckets_s": [float("nan")]}, "1 to 50"),
        ({"port": 70000}, "65535"),
        ({"linger_s": -1}, "0"),
        ({"prot": 1}, "prot"),
    ],
)
def test_settings_that_are_refused(table: dict[str, Any], says: str) -> None:
    """What would listen to others without both consent and token, and what is no value, is refused."""
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate(table)
    assert says in str(refused.value)
    if isinstance(table.get("token"), str):
        assert table["token"] not in str(refused.value)


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"host": "::1"},
        {"host": "localhost", "token": False},
        {"host": "127.0.0.2", "token": False},
        {"host": "0.0.0.0", "allow_remote": True},
        {"token": TOKEN},
    ],
)
def test_settings_that_are_taken(table: dict[str, Any]) -> None:
    """Loopback needs no consent; what shows the settings does not show the token."""
    assert TOKEN not in repr(Settings.model_validate(table))


def test_the_address_that_was_bound_counts(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where localhost leads elsewhere, nothing is served, and the port is free again."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("0.0.0.0", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(ValueError, match="other machines can reach"):
        PrometheusSink(Settings(host="localhost", port=0, token=False)).open(run.info)


@posix
def test_a_token_is_made_and_kept(served: Served, scrape: Scrape, tmp_path: Path) -> None:
    """The first run makes 256 bits in a file that is its user's alone; the next one, and whoever reads it, has them."""
    path = tmp_path / "state" / "token"
    sink = served(token=None, token_file=str(path))
    text = path.read_text("ascii")
    assert re.fullmatch(r"[\w-]{43}\n", text)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert scrape(sink, text.strip()).types
    assert token_of(path) == text.strip()
    assert [one.name for one in path.parent.iterdir()] == ["token"]


def test_the_usual_place_is_the_state_folder() -> None:
    """Without a name it is with the other state of longshore."""
    assert (default_path().parent.name, default_path().name) == ("longshore", "prometheus.token")


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_a_file_that_is_given_is_read(tmp_path: Path, mode: int) -> None:
    """A file of the user's own, or one that a group may read too, gives its token, without blanks around it."""
    path = tmp_path / "token"
    path.write_text(f"  {TOKEN}\n")
    path.chmod(mode)
    assert token_of(path) == TOKEN


@posix
@pytest.mark.parametrize(
    ("mode", "text", "says"),
    [
        (0o644, TOKEN, "chmod"),
        (0o660, TOKEN, "chmod"),
        (0o602, TOKEN, "chmod"),
        (0o600, "", "holds no token"),
        (0o600, "short", "holds no token"),
        (0o600, "a" * 10_000 + "\x00", "holds no token"),
    ],
)
def test_a_file_that_others_know_is_refused(tmp_path: Path, mode: int, text: str, says: str) -> None:
    """A file that anybody reads, or others write, or that holds none, is named and left as it is."""
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(ValueError, match=says) as refused:
        token_of(path)
    assert str(path) in str(refused.value)
    assert TOKEN not in str(refused.value)
    assert path.read_text() == text


@posix
@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    """Neither a link is followed, nor a pipe waited for."""
    path = tmp_path / "token"
    if kind == "link":
        (tmp_path / "other").write_text(TOKEN)
        path.symlink_to(tmp_path / "other")
    elif kind == "fifo":
        os.mkfifo(path, 0o600)
    else:
        path.mkdir()
    with pytest.raises((ValueError, OSError)):
        token_of(path)


def test_two_that_make_it_at_once_have_one_token(tmp_path: Path) -> None:
    """Runs that begin together agree on the token that stays."""
    path, found = tmp_path / "token", list[str]()
    threads = [threading.Thread(target=lambda: found.append(token_of(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {token_of(path)}
    assert len(found) == 8
    assert [one.name for one in tmp_path.iterdir()] == ["token"]


def test_a_port_that_is_taken(served: Served, run: Any) -> None:
    """Who wants a port that somebody has is told which, and what to try."""
    port = port_of(served())
    with pytest.raises(OSError, match=rf"port {port} of 127\.0\.0\.1 .*sinks\.prometheus\.port.* or to 0"):
        PrometheusSink(Settings(port=port, token=False)).open(run.info)


def test_an_address_that_is_not_here(run: Any) -> None:
    """Who wants an address of another machine is told where that stands."""
    table = {"host": "192.0.2.1", "port": 0, "allow_remote": True, "token": TOKEN}
    with pytest.raises(OSError, match=r"look at sinks\.prometheus\.host"):
        PrometheusSink(Settings.model_validate(table)).open(run.info)


@pytest.mark.parametrize(("view", "lines"), [("auto", 1), ("json", 0), ("none", 0)])
def test_a_person_is_told_where_it_is(
    run: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path, view: str, lines: int
) -> None:
    """At the command line one line says where the metrics and the token are, and not what it is; JSON is left alone."""
    info: RunInfo = replace(run.info, interactive=True, view=view)
    sink = PrometheusSink(Settings(port=0, token_file=str(tmp_path / "token")))
    sink.open(info)
    sink.close(run.summary())
    said = capsys.readouterr().err
    assert said.count("\n") == lines
    if lines:
        assert sink.url in said
        assert str(tmp_path / "token") in said
        assert (tmp_path / "token").read_text().strip() not in said


def test_after_the_run_nothing_is_served(served: Served, run: Any) -> None:
    """Once it is closed its port is free, its thread has gone, and closing again does nothing."""
    sink = served()
    port = port_of(sink)
    sink.close(run.summary())
    sink.close(run.summary())
    assert not any(thread.name == "longshore-prometheus" for thread in threading.enumerate())
    socket.create_server(("127.0.0.1", port)).close()


def test_the_last_figures_linger(served: Served, scrape: Scrape, run: Any, events: Any) -> None:
    """For `linger_s` the figures of the end are served, without asking the pool; a next run takes the port over."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    sink = served(port=port, linger_s=60.0)
    sink.on_events([events["completed"]()])
    run.full()
    sink.close(run.summary())
    run.asked = 0
    exposed = scrape(sink)
    assert exposed.get("longshore_tasks_total", stage="parse", result="success") == 1.0
    assert exposed["longshore_workers"] == {}
    assert run.asked == 0
    following = served(port=port)
    assert scrape(following).types
    assert run.asked == 1
    assert not any(thread.name == "longshore-prometheus-linger" for thread in threading.enumerate())


LINGERS = """
import signal, sys, urllib.request
from datetime import UTC, datetime
from longshore.records import RunInfo, RunSnapshot, RunSummary
from longshore_prometheus import PrometheusSink

signal.signal(signal.SIGINT, signal.default_int_handler)  # what starts the tests may ignore it
at = datetime.now(UTC)
snapshot = RunSnapshot(run_id="r", name="n", started=at, elapsed_s=1.0)
sink = PrometheusSink(PrometheusSink.Settings(port=0, token=False, linger_s=float(sys.argv[1])))
sink.open(RunInfo(run_id="r", started=at, snapshot=lambda: snapshot))
sink.close(RunSummary(snapshot=snapshot, state="completed"))
print(sink.url, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("linger_s", [0.3, 60.0])
def test_a_process_stays_while_it_lingers(linger_s: float) -> None:
    """A program that is through stays for that time, is scraped in it, then ends by itself; Ctrl-C ends it at once."""
    command = [sys.executable, "-c", LINGERS, str(linger_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if linger_s > 1:
            with urllib.request.urlopen(url, timeout=10) as answer:
                assert b"longshore_build_info" in answer.read()
        for _ in range(100):  # what comes before the program is through ends only the program
            if linger_s > 1:
                process.send_signal(2)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.2)
                break
        assert process.poll() is not None
        assert linger_s > 1 or process.returncode == 0
