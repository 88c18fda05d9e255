"""Which sinks a run of the command has beside those that settings name: the terminal's, unless it is left out."""

from __future__ import annotations

from typing import Any

import pytest

Command = Any  # the fixtures' classes: test modules cannot import a conftest
RUN = ("run", "job:size", "in", "--executor", "inline")
JSONL = ("--set", "sinks.jsonl.path=events.jsonl")
JSONL_TABLE = '[sinks.jsonl]\npath = "events.jsonl"\n'
JSONL_LIST = 'sinks = ["jsonl"]\n'
RICH_OFF = "[sinks.rich]\nenabled = false\n"


@pytest.fixture
def one(inside: Command) -> Command:
    """Return the command, with one input."""
    inside.inputs(["a"])
    return inside


def is_shown(errors: str) -> bool:
    """Tell whether the terminal's sink has told of a run; what the command itself says begins otherwise."""
    return "job:size: 1 tasks" in errors or " started" in errors


@pytest.mark.parametrize(
    ("settings", "arguments", "shown"),
    [
        ("", (), True),
        ("", JSONL, True),
        (JSONL_TABLE, (), True),
        (JSONL_LIST, JSONL, False),
        (JSONL_LIST, (*JSONL, "--progress", "lines"), True),
        (RICH_OFF, (), False),
        (RICH_OFF, ("--progress", "lines"), True),
        (JSONL_TABLE, ("--progress", "none"), False),
    ],
)
def test_options_of_a_sink_leave_the_view(one: Command, settings: str, arguments: tuple[str, ...], shown: bool) -> None:
    """A table or `--set` adds its sink; a list, or the view's own table, takes it away, unless a view is asked for."""
    (one.folder / "longshore.toml").write_text(settings)
    code, _, errors = one(*RUN, *arguments)
    assert code == 0, errors
    assert is_shown(errors) is shown, errors
    assert (one.folder / "events.jsonl").exists() is bool("jsonl" in settings or arguments[:2] == JSONL)


@pytest.mark.parametrize(("settings", "shown"), [(JSONL_LIST, False), ("", True)])
def test_a_run_that_goes_on_shows_what_it_showed(one: Command, settings: str, shown: bool) -> None:
    """Whether sinks were chosen by a list is recorded."""
    (one.folder / "longshore.toml").write_text(settings)
    one(*RUN, *JSONL, "-o", "out.jsonl")
    (one.folder / "longshore.toml").unlink()
    code, _, errors = one("resume", "last", "-o", "again.jsonl")
    assert (code, is_shown(errors)) == (0, shown), errors
