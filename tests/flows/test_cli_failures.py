"""What `longshore run` tells of inputs that failed."""

from typing import Any

import pytest

Command = Any  # the fixture's class: test modules cannot import a conftest


@pytest.mark.slow
def test_a_crash_shows_what_led_to_it(inside: Command) -> None:
    """The summary of failures has what the task wrote last, the traceback of a crash in C code included."""
    inside.inputs(["a"])
    (inside.folder / "stages.py").write_text(
        "import ctypes\ndef crash(path):\n    print('reading', path)\n    ctypes.string_at(0)\n"
    )
    code, _, errors = inside("run", "stages:crash", "in", "--progress", "none")
    assert code == 1
    assert "    in/a wrote last:" in errors
    assert "        reading in/a" in errors
    assert "in crash" in errors
