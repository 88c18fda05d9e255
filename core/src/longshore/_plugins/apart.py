"""A Python process of its own, in which whatever a plugin does costs nobody else. Called by the check and the front.

It is given a folder, where it finds what it needs and leaves its results; what it prints goes there too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

_BOOT: Final = (
    "import json, sys\n"
    "with open(sys.argv[1] + '/spec.json', encoding='utf-8') as file: spec = json.load(file)\n"
    "sys.path[:] = spec.pop('path')\n"
)
"""What each begins with: the modules that this process finds are those that it finds."""
OUTPUT: Final = "output.txt"
_SLICE_S: Final = 0.25
"""How soon it is noticed that all is to end, and how often `meanwhile` is called."""
_OUTPUT_CAP: Final = 4_000


def run_apart(
    folder: Path,
    spec: Mapping[str, Any],  # Any: JSON-safe values
    code: str,
    deadline_s: float,
    *,
    stop: threading.Event | None = None,
    meanwhile: Callable[[], object] = lambda: None,
    options: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    inside: bool = False,
) -> int | None:
    """Run `code`, where `spec` is what was given and `sys.argv[1]` the folder; return its exit code.

    None when it had to be killed, with all it started: after `deadline_s`, or when `stop` was set. It runs in the
    current folder, or `inside` its own; `options` are the interpreter's. `meanwhile` is called now and then.
    """
    given = {**spec, "path": [str(entry) for entry in sys.path]}
    (folder / "spec.json").write_text(json.dumps(given), encoding="utf-8")
    with (folder / OUTPUT).open("wb") as said:
        child = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", *options, "-c", _BOOT + code, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
            cwd=folder if inside else None,
            env=environ,
        )
        try:
            return _waited(child, deadline_s, stop, meanwhile)
        except BaseException:
            _kill(child)
            raise


def ending(code: int) -> str:
    """Return in words how a process ended."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code}, {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def last_words(folder: Path) -> str | None:
    """Return the end of what it printed; None if that is nothing."""
    with suppress(OSError):
        return (folder / OUTPUT).read_bytes()[-_OUTPUT_CAP:].decode("utf-8", "replace").strip() or None
    return None


def _waited(
    child: subprocess.Popen[bytes], deadline_s: float, stop: threading.Event | None, meanwhile: Callable[[], object]
) -> int | None:
    deadline = time.monotonic() + deadline_s
    while not (stop is not None and stop.is_set()) and (left := deadline - time.monotonic()) > 0:
        try:
            return child.wait(min(left, _SLICE_S))
        except subprocess.TimeoutExpired:
            meanwhile()
    _kill(child)
    return None


def _kill(child: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.wait()
