"""Loads candidates each in a Python process of its own, and says how they fared. Called by the front.

So a plugin that hangs, crashes or ends the interpreter at import costs a line in a report. The child (`child.py`) is
given the candidate, and leaves `result.json`; what it prints goes nowhere but into the error of one that died.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from longshore._cpus import usable_cpus
from longshore._plugins.apart import ending, last_words, run_apart
from longshore._plugins.records import Candidate, CheckResult, PluginState

_CODE: Final = "from longshore._plugins.child import main\nmain(sys.argv[1], spec['candidate'])\n"
TRIED: Final = frozenset({PluginState.AVAILABLE, PluginState.LOADED, PluginState.FAILED})


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
        code = run_apart(folder, {"candidate": msgspec.to_builtins(candidate)}, _CODE, deadline_s, stop=stop)
        if code is None:
            return _failed(candidate, f"it was not loaded within {deadline_s:g} s, and was stopped", None)
        with suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode((folder / "result.json").read_bytes(), type=CheckResult)
        return _failed(candidate, f"it ended the interpreter while it was loaded ({ending(code)})", last_words(folder))


def _failed(candidate: Candidate, reason: str, error: str | None) -> CheckResult:
    return msgspec.structs.replace(result_of(candidate), state=PluginState.FAILED, reason=reason, error=error)
