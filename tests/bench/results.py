"""The file of results: what was measured, by Python and row, kept after each row, so a cut run loses one.

`{"runs": {"3.11": {"rows": {"1": {...}}}}}`. Measuring a row again puts it in the place of what was there; rows that
are not measured stay as they were, each with when and on what it was taken.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from measure import Measured
from report import Line, Spread, lines, row_order
from rows import ROWS

Record = dict[str, Any]  # Any: JSON-safe values


def record(measured: Measured, python: tuple[int, int], about: Mapping[str, Any]) -> Record:
    """Return all there is to keep of a row, every round included; `about` says when and on what it was taken."""
    return {
        "about": dict(about),
        "n": measured.n,
        "values": measured.values,
        "extras": measured.extras,
        "foreign_cores": measured.stray_cores,
        "errors": measured.errors,
        "not_run": measured.not_run,
        "lines": [asdict(line) for line in lines(measured, python)],
    }


class Results:
    """The results there are; `file` None keeps them in memory only."""

    def __init__(self, file: Path | None) -> None:
        """Begin with what the file holds, if there is one; ValueError if it is another kind of file."""
        self._file = file
        self.runs: dict[str, dict[str, Record]] = {}
        if file is not None and file.exists():
            try:
                self.runs = {python: run["rows"] for python, run in json.loads(file.read_text("utf-8"))["runs"].items()}
            except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
                raise ValueError(f"{file} holds no results of this benchmark: {error!r}") from error

    def keep(self, python: str, row: str, kept: Record) -> None:
        """Put a row in its place, and write the file anew, whole or not at all."""
        rows = {**self.runs.get(python, {}), row: kept}
        places = row_order(ROWS)
        self.runs[python] = dict(sorted(rows.items(), key=lambda item: places.get(item[0], len(places))))
        if self._file is not None:
            new = self._file.with_name(f"{self._file.name}.new")
            whole = {"runs": {name: {"rows": run} for name, run in sorted(self.runs.items())}}
            new.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
            os.replace(new, self._file)


def as_line(kept: Mapping[str, Any]) -> Line:  # Any: as above
    """Return a line as it was before it was kept."""
    spreads = {name: Spread(**kept[name]) if kept[name] else None for name in ("mine", "theirs", "ratio")}
    return Line(**{**kept, **spreads})
