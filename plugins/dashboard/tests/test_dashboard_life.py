"""The sink's life: where it listens, what it prints, and that nothing is left of it."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from longshore_dashboard import DashboardSink
from pydantic import ValidationError

Serve = Any  # the fixture: test modules cannot import a conftest


def test_there_is_no_link_before_the_run() -> None:
    """One that is asked for too early says so."""
    with pytest.raises(ValueError, match="before the run"):
        DashboardSink().link(within_s=0)


def test_by_default_only_this_machine_reaches_it(serve: Serve) -> None:
    """Nothing is asked of settings: 127.0.0.1, a port that was free."""
    client = serve()
    assert re.fullmatch(r"127\.0\.0\.1:\d+", client.authority)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "2001:db8::1", ""])
def test_an_address_that_others_reach_has_to_be_meant(host: str) -> None:
    """It is refused when settings are read, with the word that allows it."""
    with pytest.raises(ValidationError, match="allow_remote"):
        DashboardSink.Settings(host=host)
    assert DashboardSink.Settings(host=host, allow_remote=True).host == host


@pytest.mark.parametrize("wrong", [{"url_prefix": "runs"}, {"allowed_hosts": ["http://x"]}, {"allowed_hosts": ["*"]}])
def test_settings_that_cannot_be_meant(wrong: dict[str, Any]) -> None:
    """A prefix is a path, and a host a host."""
    with pytest.raises(ValidationError):
        DashboardSink.Settings(**wrong)


def test_the_link_is_printed_and_the_token_is_not(made: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """Standard error has a link that is good once, and another when it was used; standard output has nothing."""
    sink = DashboardSink()
    sink.open(made.run_info())
    try:
        said = capfd.readouterr()
        assert said.out == ""
        [link] = re.findall(r"http://127\.0\.0\.1:(\d+)(/\?code=\S+)", said.err)
        token = sink._serving.rules.token  # type: ignore[union-attr]  # it is open
        assert token not in said.err
        assert token not in " ".join([*sys.argv, *os.environ.values()])
        with socket.create_connection(("127.0.0.1", int(link[0])), timeout=20) as connection:
            request = f"GET {link[1]} HTTP/1.1\r\nHost: localhost:{link[0]}\r\nConnection: close\r\n\r\n"
            connection.sendall(request.encode())
            assert b" 303 " in made.read_all(connection)
        assert "for another browser" in capfd.readouterr().err
    finally:
        sink.close(made.summary())


def test_a_unix_socket_is_its_users_alone(serve: Serve, made: Any) -> None:
    """Mode 0600 whatever the umask; asked for as localhost; one that nobody listens on any more is taken over."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dash.sock"
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        old = os.umask(0)
        try:
            client = serve(uds=str(path))
        finally:
            os.umask(old)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert client.get("/api/run").status == 200
        assert client.get("/api/run", {"Host": "evil.example"}).status == 403
        with pytest.raises(OSError, match="another process listens"):
            serve(uds=str(path))
        client.sink.close(made.summary())
        assert not path.exists()
        path.write_text("precious")
        with pytest.raises(OSError, match="no socket"):
            serve(uds=str(path))
        assert path.read_text() == "precious"


def test_a_port_that_is_taken_is_named(serve: Serve, made: Any) -> None:
    """The error names address and port, and nothing is left open."""
    before = threading.active_count()
    port = serve().where[1]
    there = threading.active_count()
    with pytest.raises(OSError, match=f"127.0.0.1 port {port}"):
        serve(port=port)
    made.eventually(lambda: threading.active_count() == there, "the end of the threads")
    assert there > before


@pytest.mark.slow
def test_the_token_file_is_its_users_alone_and_goes_with_the_run(serve: Serve, made: Any, tmp_path: Path) -> None:
    """Scripts read the token from a file of mode 0600; a link that stands there is not followed."""
    path, precious = tmp_path / "token", tmp_path / "precious"
    precious.write_text("precious")
    path.symlink_to(precious)
    client = serve(token_file=str(path))
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    assert path.read_text() == f"{client.token}\n"
    client.sink.close(made.summary())
    assert not path.exists()
    assert precious.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [precious]


@pytest.mark.slow
def test_its_database_goes_with_the_run(made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is closed, the temporary database is gone; a second close does nothing, and events are refused."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sink = DashboardSink(DashboardSink.Settings(announce=False))
    sink.open(made.run_info())
    sink.on_events(made.events_of(1))
    assert list(tmp_path.iterdir())
    sink.close(made.summary())
    sink.close(made.summary())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="before it was opened"):
        sink.on_events(made.events_of(2))


def test_it_may_be_opened_again(serve: Serve, made: Any) -> None:
    """The next run of a pool has pages of its own, with another token."""
    sink = DashboardSink(DashboardSink.Settings(announce=False))
    tokens = set()
    for _ in range(2):
        sink.open(made.run_info())
        tokens.add(sink._serving.rules.token)  # type: ignore[union-attr]  # it is open
        sink.close(made.summary())
    assert len(tokens) == 2


LINGERING = """
import signal, sys, threading, urllib.request
from datetime import UTC, datetime
from longshore.records import RunInfo, RunSnapshot, RunSummary
from longshore_dashboard import DashboardSink

signal.signal(signal.SIGINT, signal.default_int_handler)  # what starts the tests may ignore it
shot = RunSnapshot(run_id="r1", name="x", started=datetime.now(UTC), elapsed_s=1.0)
sink = DashboardSink(DashboardSink.Settings(linger_s=float(sys.argv[1]), token_file="token"))
sink.open(RunInfo(run_id="r1", started=shot.started, snapshot=lambda: shot))
sink.close(RunSummary(snapshot=shot, state="completed"))
print("over", flush=True)
"""


@pytest.mark.slow
def test_pages_outlive_the_run_where_settings_say_so(tmp_path: Path, made: Any) -> None:
    """With `linger_s` the pages are read after the program's end, which Ctrl-C then cuts short, without a traceback."""
    command = [sys.executable, "-c", LINGERING, "600"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            [(where, port)] = re.findall(r"http://(127\.0\.0\.1):(\d+)/", process.stderr.readline())
            assert process.stdout.readline() == "over\n"
            token = (tmp_path / "token").read_text().strip()
            with socket.create_connection((where, int(port)), timeout=20) as connection:
                head = f"GET /api/run HTTP/1.1\r\nHost: {where}:{port}\r\nAuthorization: Bearer {token}\r\n"
                connection.sendall(f"{head}Connection: close\r\n\r\n".encode())
                assert b'"state":"completed"' in made.read_all(connection)
            process.send_signal(2)
            assert process.wait(20) == 0
            assert re.fullmatch(r"longshore: the dashboard stays for \d+ s; Ctrl-C ends that\n", process.stderr.read())
        finally:
            process.kill()
    ended = subprocess.run(
        [sys.executable, "-c", LINGERING, "0.2"], cwd=tmp_path, capture_output=True, timeout=50, check=False
    )
    assert ended.returncode == 0
    assert not (tmp_path / "token").exists()
