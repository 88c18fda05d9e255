"""What runs in the process of a check: one candidate is loaded and made, and the result is left in a file."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

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
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
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
    return replace(result_of(candidate, round(load_ms, 3)), warnings=_deprecations(candidate, told))


def _deprecations(candidate: Candidate, told: Sequence[warnings.WarningMessage]) -> tuple[str, ...]:
    """Return what the plugin's own files were told of as deprecated, a line each; others' are not its author's."""
    spec = sys.modules.get(candidate.value.partition(":")[0].partition(".")[0])
    own = Path(str(getattr(spec, "__file__", None) or "?"))
    home = own.parent if own.name == "__init__.py" else own
    lines = [
        f"{Path(each.filename).name}:{each.lineno}: {each.message}"
        for each in told
        if issubclass(each.category, DeprecationWarning) and Path(each.filename).is_relative_to(home)
    ]
    return tuple(dict.fromkeys(lines))
