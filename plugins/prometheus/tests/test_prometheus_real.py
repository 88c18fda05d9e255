"""A real Prometheus scrapes real runs, and knows of them what the journal has; promtool finds nothing to say."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pytest
from longshore import RetryPolicy, Settings, WorkerPool, current_task
from longshore_prometheus import PrometheusSink, _exposition, _figures

MISSING = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"{' and '.join(MISSING)} not here: Debian has both as `prometheus`"),
]
DEADLINE_S = 30.0
CONFIG = """
global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}
scrape_configs:
  - job_name: longshore
    authorization: {{ credentials_file: {token} }}
    static_configs: [ {{ targets: ["127.0.0.1:{port}"] }} ]
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class Prometheus:
    """One that runs, and answers queries."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> dict[tuple[str, ...], float]:
        """Return the values by the values of the labels, in the order of their names; job and instance left out."""
        asked = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        with urllib.request.urlopen(asked, timeout=5) as answer:
            found = json.load(answer)["data"]["result"]
        hidden = {"__name__", "job", "instance"}
        return {
            tuple(value for name, value in sorted(one["metric"].items()) if name not in hidden): float(one["value"][1])
            for one in found
        }

    def wait_for(self, expression: str, wanted: Callable[[dict[tuple[str, ...], float]], bool]) -> Any:
        """Return the values once they are as wanted; TimeoutError says what they were."""
        give_up, found = time.monotonic() + DEADLINE_S, {}
        while time.monotonic() < give_up:
            with suppress(urllib.error.URLError, ConnectionError):  # it is starting
                found = self.query(expression)
                if wanted(found):
                    return found
            time.sleep(0.1)
        raise TimeoutError(f"{expression} is {found} after {DEADLINE_S:g} s")


@contextmanager
def prometheus(folder: Path, target: int, token: Path) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes this port with the token of this file, and end it."""
    config, port = folder / "prometheus.yml", free_port()
    config.write_text(CONFIG.format(token=token, port=target))
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield Prometheus(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait(timeout=DEADLINE_S)


def promtool(*arguments: str, given: str | None = None) -> None:
    done = subprocess.run(
        ["promtool", *arguments], input=given, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""


def wobble(number: int) -> int:
    if number % 7 == 0:
        raise ValueError(number)
    if number % 5 == 0 and current_task().attempt == 1:
        raise OSError(number)
    return number


async def nap(number: int) -> int:
    await asyncio.sleep(0.001)
    return number


def recorded(root: Path, run_id: str) -> Counter[str]:
    """Return how many tasks a journal has, by their state."""
    command = [sys.executable, "-m", "longshore", "runs", "show", run_id, "--json", "--journal", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    return Counter({state: count for state, count in json.loads(done.stdout)["counts"].items() if count})


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (_figures, _exposition):
        monkeypatch.setattr(module, "FRESH_S", 0.0)


@pytest.mark.requirement("req:L02")
async def test_prometheus_knows_what_the_journal_has(tmp_path: Path, fresh: None) -> None:
    """Of a run with failures, retries and a timeout its sums are the journal's; it scrapes with the token."""
    token, runs = tmp_path / "token", tmp_path / "runs"
    settings = Settings.model_validate({"journals": {"sqlite": {"path": str(runs)}}})
    sink = PrometheusSink(PrometheusSink.Settings(port=0, token_file=str(token)))
    async with WorkerPool(settings=settings, journal="sqlite", sinks=[sink]) as pool:
        policy = RetryPolicy(attempts=2, backoff=0.0, jitter=0.0)
        outcomes = [one async for one in pool.options(retry=policy, name="wobble").outcomes(wobble, range(700))]
        outcomes += [one async for one in pool.outcomes(nap, range(500))]
        outcomes += [one async for one in pool.options(timeout=0.05, name="late").outcomes(asyncio.sleep, [30.0, 30.0])]
        run_id = pool.run_id
        port = int(sink.url.rpartition(":")[2].removesuffix("/metrics"))
        with prometheus(tmp_path, port, token) as server:
            everything = {(): float(len(outcomes))}
            await asyncio.to_thread(server.wait_for, "sum(longshore_tasks_total)", lambda found: found == everything)
            results = server.query("sum by (result) (longshore_tasks_total)")
            retries = server.query("sum by (error_type) (longshore_task_retries_total)")
            durations = server.query("sum by (stage) (longshore_task_duration_seconds_count)")
            assert server.query("longshore_workers{state='idle'} > 0")
            assert server.query("up") == {(): 1.0}
        await asyncio.to_thread(promtool, "check", "config", str(tmp_path / "prometheus.yml"))
    counts = recorded(runs, run_id)
    named = {"success": "completed", "failure": "failed", "timeout": "timed_out", "cancellation": "cancelled"}
    assert {name: results[name,] for name in named} == {name: float(counts[state]) for name, state in named.items()}
    assert results["error",] == 0.0
    assert retries == {("ValueError",): 100.0, ("OSError",): 120.0}
    assert durations == {("wobble",): 700.0, ("nap",): 500.0, ("late",): 2.0}


PROGRAM = """
import asyncio, sys
from longshore import Settings, WorkerPool
from longshore_prometheus import PrometheusSink

async def work(number):
    await asyncio.sleep(0.02)
    if number % 10 == 0:
        raise ValueError(number)

async def main(runs, port, token, count, resume=None):
    settings = Settings.model_validate({"journals": {"sqlite": {"path": runs}}})
    sink = PrometheusSink(PrometheusSink.Settings(port=int(port), token_file=token))
    pool = WorkerPool({"async_workers": 2}, settings=settings, journal="sqlite", resume=resume, sinks=[sink])
    async with pool:
        print(pool.run_id, flush=True)
        async for outcome in pool.options(version="1", name="work").outcomes(work, range(int(count))):
            pass
        print("done", flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main(*sys.argv[1:]))
"""


@contextmanager
def program(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.requirement("req:L02")
@pytest.mark.skipif(os.name == "nt", reason="kills as POSIX does")
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """After kill -9 and a resume the totals end as the journal's, and no lower than they were before (fault:E7)."""
    token, runs, port, count = tmp_path / "token", tmp_path / "runs", free_port(), 400
    total = "sum(longshore_tasks_total)"
    with program(runs, port, token, count) as first:
        assert first.stdout is not None
        run_id = first.stdout.readline().strip()
        with prometheus(tmp_path, port, token) as server:
            before = server.wait_for(total, lambda found: found.get((), 0.0) >= 50.0)[()]
            first.send_signal(signal.SIGKILL)
            first.wait(timeout=DEADLINE_S)
            with program(runs, port, token, count, run_id) as second:
                assert second.stdout is not None
                assert second.stdout.readline().strip() == run_id
                after = server.wait_for(total, lambda found: found.get((), 0.0) >= count)[()]
                results = server.query("sum by (result) (longshore_tasks_total)")
                assert second.stdin is not None
                second.stdin.write("\n")
                second.stdin.flush()
                second.wait(timeout=DEADLINE_S)
            assert server.query("max(resets(longshore_tasks_total[5m]))")[()] <= 1.0
    assert before <= after == count
    counts = recorded(runs, run_id)
    assert (results["success",], results["failure",]) == (counts["completed"], counts["failed"]) == (360.0, 40.0)


def test_promtool_has_nothing_to_say(tmp_path: Path, run: Any, served: Callable[..., PrometheusSink]) -> None:
    """The exposition and the rules are as they should be by Prometheus's own tool."""
    run.full()
    sink = served(worker_memory=True)
    with urllib.request.urlopen(sink.url, timeout=DEADLINE_S) as answer:
        promtool("check", "metrics", given=answer.read().decode())
    with as_file(files("longshore_prometheus") / "rules.yml") as rules:
        promtool("check", "rules", str(rules))


RULES = """
rule_files: [ {rules} ]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{ series: 'longshore_last_progress_timestamp_seconds{{instance="still"}}', values: '0x60' }}
      - {{ series: 'longshore_tasks_in_progress{{instance="still", stage="s"}}', values: '1x60' }}
      - {{ series: 'longshore_tasks_queued{{instance="still", stage="s"}}', values: '0x60' }}
      - {{ series: 'longshore_tasks_retrying{{instance="still", stage="s"}}', values: '0x60' }}
      - {{ series: 'longshore_last_progress_timestamp_seconds{{instance="idle"}}', values: '0x60' }}
      - {{ series: 'longshore_tasks_in_progress{{instance="idle", stage="s"}}', values: '0x60' }}
      - {{ series: 'longshore_tasks_queued{{instance="idle", stage="s"}}', values: '0x60' }}
      - {{ series: 'longshore_tasks_retrying{{instance="idle", stage="s"}}', values: '0x60' }}
      - {{ series: 'longshore_tasks_total{{instance="bad", stage="s", result="success"}}', values: '0+8x60' }}
      - {{ series: 'longshore_tasks_total{{instance="bad", stage="s", result="error"}}', values: '0+2x60' }}
      - {{ series: 'longshore_tasks_total{{instance="good", stage="s", result="success"}}', values: '0+8x60' }}
      - {{ series: 'longshore_tasks_total{{instance="good", stage="s", result="cancellation"}}', values: '0+9x60' }}
      - {{ series: 'longshore_throttled_seconds_total{{instance="short", reason="memory"}}', values: '0+45x60' }}
      - {{ series: 'longshore_throttled_seconds_total{{instance="ok", reason="memory"}}', values: '0+15x60' }}
    promql_expr_test:
      - expr: sum by (alertname, instance) (ALERTS{{alertstate="firing"}})
        eval_time: 30m
        exp_samples:
          - {{ labels: '{{alertname="LongshoreFailureRatio", instance="bad"}}', value: 1 }}
          - {{ labels: '{{alertname="LongshoreStalled", instance="still"}}', value: 1 }}
          - {{ labels: '{{alertname="LongshoreThrottled", instance="short"}}', value: 1 }}
"""


def test_each_alert_is_raised_for_what_it_says_and_for_nothing_else(tmp_path: Path) -> None:
    """A run that stands still, one whose tasks fail, one that is held back: each has its alert, their likes none."""
    with as_file(files("longshore_prometheus") / "rules.yml") as rules:
        given = tmp_path / "test.yml"
        given.write_text(RULES.format(rules=rules))
        promtool("test", "rules", str(given))
