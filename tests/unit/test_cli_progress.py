"""What a command that takes long says meanwhile."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from longshore.cli import progress
from longshore.cli.closely import _standing
from longshore.cli.progress import Progress
from longshore.testing._suites import TestRow as Row


class Stream(io.StringIO):
    """Standard error: a terminal, or none."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


Told = Callable[..., str]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """Say these, each at its time; return what was written."""

    def given(*said: tuple[float, str], terminal: bool) -> str:
        stream, now = Stream(terminal=terminal), [0.0]
        with monkeypatch.context() as patch:
            patch.setattr("sys.stderr", stream)
            patch.setattr(progress.time, "monotonic", lambda: now[0])
            patch.setenv("TERM", "xterm")
            patch.setenv("COLUMNS", "20")
            with Progress() as telling:
                for at, text in said:
                    now[0] = at
                    telling.doing(text)
        return stream.getvalue()

    return given


def test_a_terminal_has_one_line_which_is_gone_at_the_end(told: Told) -> None:
    """Each takes the place of the one before; none is as wide as the terminal, where it would be left behind."""
    lines = told((0.0, "much that is to be said"), (1.0, "\x1b[2J"), terminal=True).split("\r")
    assert lines[1] == "   0 s  much that i"
    assert lines[2].startswith("   1 s  ")
    assert len(lines[2]) == len(lines[1])
    assert "\x1b" not in lines[2]
    assert (lines[-2].strip(), lines[-1]) == ("", "")


def test_a_log_has_a_line_now_and_then(told: Told) -> None:
    """Nothing of what is over soon, then one every few seconds, whole."""
    said = [(at / 2, f"a text of some length, {at}") for at in range(22)]
    assert told(*said, terminal=False).splitlines() == [
        "   5 s  a text of some length, 10",
        "  10 s  a text of some length, 20",
    ]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "beginning its suite"),
        ([("a", "passed"), ("b", "skipped"), ("c", None)], "2 of 3 tests, now c"),
        ([("a", "failed"), ("b", "failed"), ("c", None)], "2 of 3 tests, 2 failed, the last b, now c"),
        ([("a", "failed")], "1 of 1 tests, 1 failed, the last a"),
    ],
)
def test_a_suite_is_told_by_how_many_tests_have_ended(rows: list[tuple[str, str | None]], words: str) -> None:
    """With how many failed, and which runs."""
    assert _standing([Row(test=test, outcome=outcome) for test, outcome in rows]) == words
