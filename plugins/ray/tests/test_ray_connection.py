"""An address where no cluster is, and a cluster that is gone: what the user is told, and what is left."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from longshore.batching.spool import Spool

pytestmark = pytest.mark.slow
PATIENCE_S = 60.0


@contextmanager
def port(silent: bool) -> Iterator[tuple[str, socket.socket]]:
    """A loopback address that accepts connections and says nothing, or one that nothing listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        if silent:
            one.listen()
        yield f"127.0.0.1:{one.getsockname()[1]}", one


def run_at(address: str, within_s: float, folder: Path) -> subprocess.Popen[str]:
    """Start `longshore run` of one small file on the cluster at an address."""
    (folder / "in").mkdir()
    (folder / "in" / "1.txt").write_text("1")
    (folder / "job.py").write_text("def line(path):\n    return path\n")
    settings = f'probes = []\n[executors.ray]\naddress = "{address}"\nconnect_timeout_s = {within_s}\n'
    (folder / "longshore.toml").write_text(settings)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LONGSHORE_", "RAY_"))}
    own = {"XDG_CONFIG_HOME": str(folder / "config"), "XDG_STATE_HOME": str(folder / "state")}
    words = [sys.executable, "-m", "longshore", "run", "job:line", "in", "-o", "out", "--executor", "ray"]
    return subprocess.Popen(
        [*words, "--progress", "none"], cwd=folder, env={**kept, **own}, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("silent", [False, True], ids=["closed", "silent"])
def test_ray_address_without_a_cluster(silent: bool, tmp_path: Path) -> None:
    """A port that is closed, and one that accepts and says nothing, end the run with one error that names it."""
    pytest.importorskip("ray", reason="Ray has no wheel for this Python")
    with port(silent) as (address, _), run_at(address, 1.0, tmp_path) as running:
        try:
            _, err = running.communicate(timeout=PATIENCE_S)
        finally:
            running.kill()
    assert running.returncode == 4, err
    assert err.count(f"no Ray cluster answers at {address}") == 1, err
    assert ("Ray had no connection after 1 s" in err) is silent, err


def test_ray_stops_while_it_connects(tmp_path: Path) -> None:
    """A signal that stops the run while Ray waits for an answer ends the process."""
    pytest.importorskip("ray", reason="Ray has no wheel for this Python")
    with port(silent=True) as (address, listening), run_at(address, 600.0, tmp_path) as running:
        try:
            listening.settimeout(PATIENCE_S)
            listening.accept()[0].close()  # the look whether anybody is there; Ray's own follows
            running.send_signal(signal.SIGTERM)
            _, err = running.communicate(timeout=PATIENCE_S)
        finally:
            running.kill()
    assert "no Ray cluster" not in err


@pytest.mark.anyio
async def test_ray_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker of this machine wrote down goes with the pool, also when it died with somebody else's cluster."""
    pytest.importorskip("ray", reason="Ray has no wheel for this Python")
    from longshore_ray import connection
    from longshore_ray.cluster import RayCluster

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(connection, "disconnect", lambda: None)
    assert Spool("ray-run", "home").open()
    assert Spool("ray-other", "home").open()
    cluster = RayCluster("ray-run", "longshore")
    cluster.where = "ray.example:6379"
    await cluster.close(1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["longshore-ray-other"]


@pytest.mark.anyio
async def test_ray_calls_that_never_come_back() -> None:
    """What Ray does not answer, as its head is gone, is given up in time, and keeps no process from its exit."""
    from longshore_ray.connection import aside

    assert await aside(lambda: 3) == 3
    with pytest.raises(OSError, match="no head"):
        await aside(_without_head)
    gone = threading.Event()
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await aside(gone.wait)
        left = [thread for thread in threading.enumerate() if thread.name == "longshore-ray-call"]
        assert all(thread.daemon for thread in left)
        assert left
    finally:
        gone.set()


def _without_head() -> None:
    raise OSError("no head")
