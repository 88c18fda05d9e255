"""Loads candidates each in a Python process of its own, and says how they fared. Called by the front.

So a plugin that hangs, crashes or ends the interpreter at import costs a line in a report. The child (`child.py`) is
given a folder: `spec.json` in, `result.json` out; what it prints goes nowhere but into the error of one that died.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from longshore._cpus import usable_cpus
from longshore._plugins.records import Candidate, CheckResult, PluginState

_BOOT: Final = (
    "import json, sys\n"
    "with open(sys.argv[1] + '/spec.json', encoding='utf-8') as file: spec = json.load(file)\n"
    "sys.path[:] = spec['path']\n"
    "from longshore._plugins.child import main\n"
    "main(sys.argv[1], spec['candidate'])\n"
)
TRIED: Final = frozenset({PluginState.AVAILABLE, PluginState.LOADED, PluginState.FAILED})
_SLICE_S: Final = 0.25
"""How soon a check notices that all checking is to end."""
_STDERR_CAP: Final = 4_000


def check(candidates: Sequence[Candidate], *, deadline_s: float) -> list[CheckResult]:
    """Return a result per candidate, in order; each gets a process and at most `deadline_s`.

    Those that may not be used, by policy or quarantine, are not tried: the result repeats state and reason. When this
    call is interrupted, no child is left.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(max_workers=usable_cpus(), thread_name_prefix="longshore-check") as threads:
        futures = [threads.submit(_check_one, candidate, deadline_s, stop) for candidate in candidates]
        try:
            return [future.result() for future in futures]
        except BaseException:
            stop.set()
            raise


def result_of(candidate: Candidate, load_ms: float | None = None) -> CheckResult:
    """Return the candidate's state as the result of a check."""
    return CheckResult(
        kind=candidate.kind,
        name=candidate.name,
        distribution=candidate.distribution,
        version=candidate.version,
        state=candidate.state,
        reason=candidate.reason,
        error=candidate.error,
        load_ms=load_ms,
    )


def _check_one(candidate: Candidate, deadline_s: float, stop: threading.Event) -> CheckResult:
    if candidate.state not in TRIED or stop.is_set():
        return result_of(candidate)
    with tempfile.TemporaryDirectory(prefix="longshore-check-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        spec = {"path": [str(entry) for entry in sys.path], "candidate": msgspec.to_builtins(candidate)}
        (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
        stderr = folder / "stderr.txt"
        with stderr.open("wb") as said:
            child = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-c", _BOOT, name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )
            code = _waited(child, deadline_s, stop)
        if code is None:
            return _failed(candidate, f"it was not loaded within {deadline_s:g} s, and was stopped", None)
        with suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode((folder / "result.json").read_bytes(), type=CheckResult)
        return _failed(candidate, f"it ended the interpreter while it was loaded ({_ending(code)})", _tail(stderr))


def _waited(child: subprocess.Popen[bytes], deadline_s: float, stop: threading.Event) -> int | None:
    """Return the child's exit code; None when it had to be killed, with all it started."""
    deadline = time.monotonic() + deadline_s
    while not stop.is_set() and (left := deadline - time.monotonic()) > 0:
        try:
            return child.wait(min(left, _SLICE_S))
        except subprocess.TimeoutExpired:
            continue
    if os.name == "posix":
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.wait()
    return None


def _failed(candidate: Candidate, reason: str, error: str | None) -> CheckResult:
    return msgspec.structs.replace(result_of(candidate), state=PluginState.FAILED, reason=reason, error=error)


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code}, {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _tail(path: Path) -> str | None:
    with suppress(OSError):
        return path.read_bytes()[-_STDERR_CAP:].decode("utf-8", "replace").strip() or None
    return None
