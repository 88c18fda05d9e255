"""Each scenario in a process of its own, with a wall limit; what is over it is a hang, and says where it hung."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from suite import leaks
from suite.registry import Scenario

RUN = Path(__file__).parents[1] / "run.py"
_DUMP_S = 2.0
QUICK = next((path for path in ("/dev/shm",) if os.access(path, os.W_OK)), None)
"""Where syncing a line takes no time: what is to outlive a process need not outlive the machine."""


@dataclass
class Verdict:
    """What came of one scenario."""

    id: str
    title: str
    promise: str
    verdict: str
    """"kept", "missed", "hang", "failed" (the scenario itself broke), or "skipped"."""
    form: str = "long"
    took_s: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Asked(Protocol):
    """The options that a trial depends on."""

    long: bool
    seed: int
    python: str


def try_all(wanted: Iterable[Scenario], asked: Asked, jobs: int, say: Any) -> list[Verdict]:
    """Try scenarios, `jobs` at a time; `say` is told of each as it ends. In the order they were wanted."""
    scenarios = list(wanted)
    found: dict[str, Verdict] = {}
    with ThreadPoolExecutor(jobs) as threads:
        tokens = [uuid.uuid4().hex for _ in scenarios]
        futures = [threads.submit(try_apart, *each, asked) for each in zip(scenarios, tokens, strict=True)]
        try:
            for future in as_completed(futures):
                verdict = future.result()
                found[verdict.id] = verdict
                say(f"{len(found)}/{len(scenarios)}", verdict)
        except BaseException:  # interrupted: nothing that was started may go on
            threads.shutdown(wait=False, cancel_futures=True)
            leaks.kill(pid for token in tokens for pid in leaks.tokened(token))
            raise
    return [found[scenario.id] for scenario in scenarios]


def try_apart(scenario: Scenario, token: str, asked: Asked) -> Verdict:
    """Try one scenario in a process of its own; nothing of it is left when this returns."""
    folder = Path(tempfile.mkdtemp(prefix=f"fault-{scenario.id}-", dir=QUICK))
    try:
        return _try_in(folder, token, scenario, asked)
    finally:
        leaks.kill(leaks.tokened(token))
        shutil.rmtree(folder, ignore_errors=True)


def _try_in(folder: Path, token: str, scenario: Scenario, asked: Asked) -> Verdict:
    work, temporary, said = folder / "work", folder / "tmp", folder / "said"
    work.mkdir()
    temporary.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LONGSHORE_")}
    environment |= {leaks.TOKEN: token, "TMPDIR": str(temporary), "PYTHONFAULTHANDLER": "1"}
    form = ["--long"] if asked.long else []
    command = [asked.python, str(RUN), "--one", scenario.id, "--seed", str(asked.seed), *form]
    limit_s = scenario.long_s if asked.long else scenario.short_s or scenario.long_s
    with said.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--verdict", str(folder / "verdict")],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd=work,
            env=environment,
            start_new_session=True,
        )
        hung = _wait(process, limit_s)
    verdict = _read(scenario, folder, process.returncode, hung, limit_s, long=asked.long)
    left = list(temporary.iterdir())
    if left and verdict.verdict in ("kept", "missed"):
        verdict.verdict = "missed"
        verdict.figures["leaks"] = verdict.figures.get("leaks", 0) + len(left)
        verdict.missed.append(f"temporary files are left: {', '.join(path.name for path in left[:5])}")
    return verdict


def _wait(process: subprocess.Popen[bytes], limit_s: float) -> bool:
    """Wait for the end; past the limit have all threads told, and kill it. Tell whether it hung."""
    try:
        process.wait(limit_s)
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGUSR1)
    try:
        process.wait(_DUMP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return True


def _read(scenario: Scenario, folder: Path, code: int, hung: bool, limit_s: float, *, long: bool) -> Verdict:
    made = Verdict(scenario.id, scenario.title, scenario.promise, "failed", "long" if long else "short")
    said = (folder / "said").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    if hung:
        made.verdict, made.took_s = "hang", limit_s
        made.figures, made.missed, made.notes = {"hang": "yes"}, [f"it hung for {limit_s:g} s"], said[-60:]
        return made
    if not (folder / "verdict").exists():
        made.missed, made.notes = [f"it ended with {code} and gave no verdict"], said[-30:]
        return made
    facts = json.loads((folder / "verdict").read_text(encoding="utf-8"))
    made.took_s, made.figures, made.missed = facts["took_s"], {**facts["figures"], "hang": "no"}, facts["missed"]
    made.notes = facts["notes"]
    if facts["error"]:
        made.missed, made.notes = [facts["error"].strip().splitlines()[-1]], [*facts["error"].splitlines(), *said[-20:]]
    elif facts["skipped"]:
        made.verdict, made.missed = "skipped", [facts["skipped"]]
    else:
        made.verdict = "missed" if made.missed else "kept"
    return made


def python_of(asked: str | None) -> str:
    """Return the interpreter to try with."""
    return asked or sys.executable
