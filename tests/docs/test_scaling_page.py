"""The page on scaling says what was measured."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
BENCH, PAGE, FILE = ROOT / "tests/bench", ROOT / "docs/scaling.md", ROOT / "docs/scaling.json"


@pytest.fixture
def scaling(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Return the program as a module: test folders are no packages."""
    monkeypatch.syspath_prepend(str(BENCH))
    spec = importlib.util.spec_from_file_location("bench_scaling", BENCH / "scaling.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = set(sys.modules)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    for name in set(sys.modules) - before:
        if name in ("bench_scaling", "marks", "surroundings"):
            del sys.modules[name]


def test_every_table_is_that_of_the_figures(scaling: ModuleType, tmp_path: Path) -> None:
    """Written anew from the file of figures, the page stays as it is: no number in a table is by hand."""
    again = tmp_path / "scaling.md"
    again.write_bytes(PAGE.read_bytes())
    scaling.write(scaling.Results(FILE).cases, again)
    assert again.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")


def test_every_case_is_measured_and_known(scaling: ModuleType) -> None:
    """The file has each case of the command, and no other; each says when and by which command it was measured."""
    cases = json.loads(FILE.read_text(encoding="utf-8"))["cases"]
    assert list(cases) == list(scaling.CASES)
    for name, found in cases.items():
        assert set(found["about"]) == {"taken", "machine", "python", "command"}, name
        if name not in scaling.BUSY:  # the price of a task may have been measured again since
            command = scaling.command_of(name, cases)
            assert found["about"]["command"] == " ".join([Path(command[0]).name, *command[1:]]), name


def test_what_the_page_concludes_follows_from_the_figures(scaling: ModuleType) -> None:
    """Its own sentences name the rate at which a controller ends, and the least time of a task for 10,000 workers."""
    text = PAGE.read_text(encoding="utf-8")
    task_s = scaling.task_us(scaling.Results(FILE).cases) / 1e6
    [rate] = re.findall(r"about ([\d,]+) tasks a second", text)
    [longest] = re.findall(r"10,000 workers need ([\d.]+) s or more", text)
    assert float(rate.replace(",", "")) == pytest.approx(1 / task_s, rel=0.05)
    assert float(longest) == pytest.approx(10_000 * task_s, rel=0.05)
