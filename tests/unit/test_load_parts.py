"""What is told of the parts of a plugin's load."""

from __future__ import annotations

from longshore._plugins.timing import _heaviest

LISTED = [
    "import time: self [us] | cumulative | imported package",
    "import time:    300000 |     300000 |   heavy.part",
    "import time:    100000 |     400000 | heavy",
    "import time:    100000 |     500000 | own",
]


def test_parts_are_no_more_than_the_whole() -> None:
    """The listing makes loading slower: what it says is brought to the time that was measured without it."""
    assert _heaviest(LISTED, 250.0) == (("heavy", 200.0), ("own", 50.0))
    assert _heaviest(LISTED, 900.0) == (("heavy", 400.0), ("own", 100.0))
