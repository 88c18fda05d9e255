"""What the page on what is measured says is true."""

from __future__ import annotations

import re
from pathlib import Path

from longshore import ResourceLimits
from longshore._loads import loads_of
from longshore.records import ReadRequest, Usage
from longshore_psutil import PsutilProbe

PAGE = (Path(__file__).parents[2] / "docs/how-to/signals.md").read_text(encoding="utf-8")


def test_the_keys_it_names_are_those_that_are_read() -> None:
    """Each key of a reading stands in its table, by itself or with what it says is at the end."""
    rows = [line.split("|") for line in PAGE.splitlines() if line.startswith("| `") and "capacity" not in line]
    named = {key for row in rows for key in re.findall(r"`([a-z_.]+)`", row[1])}
    assert {key.removesuffix(".now") for key in PsutilProbe().read(ReadRequest()).usage} <= named
    assert "`.now`" in PAGE


def test_the_levels_it_names_are_those_of_the_brakes() -> None:
    """10 % of the time for less at once, 20 % for nothing."""
    keys = ["pressure.memory.some", "pressure.memory.full"]
    loads = loads_of({key: Usage(0.0, 100.0) for key in keys}, ResourceLimits())
    assert f"`{keys[0]}` above {loads[keys[0]].warning:g} % of the time has less start" in " ".join(PAGE.split())
    assert f"`{keys[1]}` above {loads[keys[1]].limit:g} % lets nothing start" in " ".join(PAGE.split())
