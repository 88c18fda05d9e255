"""What runs in the process of a check: one candidate is loaded and made, and the result is left in a file."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import msgspec

from longshore._plugins.check import result_of
from longshore._plugins.load import failed, load_class
from longshore._plugins.make import make
from longshore._plugins.records import Candidate, CheckResult
from longshore.errors import PluginError, SettingsError


def main(folder: str, spec: dict[str, Any]) -> None:  # Any: JSON
    """Examine the candidate, write `result.json` into the folder, and end the process at once."""
    result = examine(msgspec.convert(spec, Candidate))
    Path(folder, "result.json").write_bytes(msgspec.json.encode(result))
    os._exit(0)  # a thread the plugin has started must not keep this process


def examine(candidate: Candidate) -> CheckResult:
    """Load the candidate and, where it needs no settings, make it; return how it fared."""
    started = time.perf_counter()
    cls, candidate = load_class(candidate)
    load_ms = (time.perf_counter() - started) * 1000.0
    if cls is not None:
        try:
            make(cls, candidate, {})
        except SettingsError:
            pass  # it cannot be made without the user's table: the class was all there is to look at
        except PluginError as error:
            candidate = failed(candidate, str(error), error)
    return result_of(candidate, round(load_ms, 3))
