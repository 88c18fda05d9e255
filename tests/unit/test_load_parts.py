"""What is told of the parts of a plugin's load."""

from __future__ import annotations

from pathlib import Path

import pytest
from longshore._plugins.timing import _heaviest, load_time
from longshore.plugins import Candidate

LISTED = [
    "import time: self [us] | cumulative | imported package",
    "import time:    300000 |     300000 |   heavy.part",
    "import time:    100000 |     400000 | heavy",
    "import time:    100000 |     500000 | own",
]


def test_parts_are_no_more_than_the_whole() -> None:
    """The listing makes loading slower: what it says is brought to the time that was measured without it."""
    assert _heaviest(0.5, LISTED, of="own", whole_ms=250.0) == (("heavy", 200.0), ("own", 50.0))
    assert _heaviest(0.5, LISTED, of="own", whole_ms=900.0) == (("heavy", 400.0), ("own", 100.0))


def test_what_no_line_tells_of_is_the_plugins_own() -> None:
    """A load may take time that is no import's: that of an attribute which is computed when it is looked up."""
    assert _heaviest(1.0, LISTED, of="own", whole_ms=1000.0) == (("own", 600.0), ("heavy", 400.0))
    assert _heaviest(0.1, LISTED, of="own", whole_ms=900.0) == (("heavy", 400.0), ("own", 100.0))
    assert _heaviest(0.1, [], of="own", whole_ms=100.0) == (("own", 100.0),)


WORK = "sum(range(3_000_000))\nclass Sink: ...\n"
BY_NAME = "import importlib\nimportlib.import_module('load_parts_heavy')\nclass Sink: ...\n"
LAZY = "def __getattr__(name):\n    import importlib\n    return importlib.import_module('load_parts_heavy').Sink\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own", "most"),
    [(WORK, "load_parts_own"), (BY_NAME, "load_parts_heavy"), (LAZY, "load_parts_heavy")],
    ids=["its own", "by name", "by name when it is looked up"],
)
def test_the_package_that_does_the_work_is_named_first(
    own: str, most: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Be it that of the plugin, at its outermost, or another that is imported by its name."""
    (tmp_path / "load_parts_own.py").write_text(own)
    (tmp_path / "load_parts_heavy.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    plugin = Candidate(kind="sinks", name="one", distribution="acme", version="1", value="load_parts_own:Sink")
    found = load_time(plugin, 0.001)
    assert found is not None
    assert found.heaviest[0][0] == most
