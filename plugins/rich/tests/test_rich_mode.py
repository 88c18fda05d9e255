"""Which view is chosen, and with what console."""

from __future__ import annotations

import io
import sys

import pytest
from longshore_rich._ink import Ink
from longshore_rich._mode import choose_mode, terminal_size, wants_colour
from longshore_rich._taskbar import takes_progress
from rich.text import Text


@pytest.mark.parametrize(
    ("view", "terminal", "env", "mode"),
    [
        ("auto", True, {"TERM": "xterm"}, "live"),
        ("auto", False, {"TERM": "xterm"}, "lines"),
        ("auto", False, {"FORCE_COLOR": "1"}, "lines"),
        ("auto", True, {"TERM": "dumb"}, "lines"),
        ("auto", True, {"CI": "true"}, "lines"),
        ("auto", True, {"CI": "false"}, "live"),
        ("auto", True, {"TTY_INTERACTIVE": "0"}, "lines"),
        ("auto", True, {"CI": "true", "TTY_INTERACTIVE": "1"}, "live"),
        ("auto", True, {"TTY_COMPATIBLE": "0"}, "lines"),
        ("auto", False, {"TTY_COMPATIBLE": "1"}, "lines"),
        ("auto", False, {"TTY_COMPATIBLE": "1", "CI": "1"}, "lines"),
        ("auto", False, {"TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1"}, "live"),
        ("live", True, {"CI": "true"}, "live"),
        ("live", False, {}, "lines"),
        ("live", True, {"TERM": "dumb"}, "lines"),
        ("lines", True, {}, "lines"),
        ("json", True, {}, "json"),
        ("none", True, {}, "none"),
    ],
)
def test_the_mode_is_ours_to_choose(view: str, terminal: bool, env: dict[str, str], mode: str) -> None:
    """auto draws only on a real terminal outside CI; what was asked for holds, but nothing is drawn into a file."""
    assert choose_mode(view, terminal=terminal, env=env) == mode


def test_an_unknown_view_is_refused() -> None:
    """A misspelt view is an error that names the choices."""
    with pytest.raises(ValueError, match="auto, live, lines, json or none, not 'fancy'"):
        choose_mode("fancy", terminal=True, env={})


@pytest.mark.parametrize(
    ("env", "terminal", "colour"),
    [
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"CLICOLOR_FORCE": "1"}, False, True),
        ({"FORCE_COLOR": "0"}, False, False),
        ({"TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "0"}, False, True),
        ({"TTY_COMPATIBLE": "0"}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({}, True, True),
        ({}, False, False),
    ],
)
def test_the_order_of_colour(env: dict[str, str], terminal: bool, colour: bool) -> None:
    """NO_COLOR, then FORCE_COLOR, then whether it is a terminal."""
    assert wants_colour(terminal=terminal, env=env) is colour


def test_ink_is_colour_and_nothing_else() -> None:
    """What is rendered is the text with colour around it, on whatever rich would make of the environment; without
    colour it is the text."""
    row = Text("a [b] :smile: 12", "bold red")
    assert Ink({"TERM": "xterm-256color", "NO_COLOR": "1"}, colour=False)(row) == row.plain
    assert Ink({"TERM": "xterm-256color"}, colour=True)(row) == "\x1b[1;31ma [b] :smile: 12\x1b[0m"


@pytest.mark.parametrize(
    ("env", "size"),
    [
        ({}, (80, 24)),
        ({"COLUMNS": "40", "LINES": "10"}, (40, 10)),
        ({"COLUMNS": "wide", "LINES": "0"}, (80, 24)),
        ({"COLUMNS": "-1", "LINES": ""}, (80, 24)),
    ],
)
def test_the_size_where_no_terminal_tells_it(env: dict[str, str], size: tuple[int, int]) -> None:
    """Off a terminal COLUMNS and LINES decide, else 80 x 24."""
    assert terminal_size(io.StringIO(), env) == size


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pty")
def test_the_size_of_a_terminal_is_asked_each_time() -> None:
    """The size follows the terminal; COLUMNS makes it smaller, and never larger than rows can be drawn."""
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    ours, theirs = pty.openpty()
    with open(ours, "rb"), open(theirs, "w") as stream:
        termios.tcsetwinsize(theirs, (24, 80))
        assert terminal_size(stream, {"COLUMNS": "200"}) == (80, 24)
        assert terminal_size(stream, {"COLUMNS": "60"}) == (60, 24)
        termios.tcsetwinsize(theirs, (10, 40))
        assert terminal_size(stream, {}) == (40, 10)


@pytest.mark.parametrize(
    ("env", "takes"),
    [
        ({}, False),
        ({"TERM": "xterm-256color"}, False),
        ({"WT_SESSION": "x"}, True),
        ({"ConEmuANSI": "ON"}, True),
        ({"KONSOLE_VERSION": "240802"}, True),
        ({"VTE_VERSION": "8200"}, True),
        ({"VTE_VERSION": "7600"}, False),
        ({"VTE_VERSION": "new"}, False),
        ({"TERM_PROGRAM": "ghostty"}, True),
        ({"TERM_PROGRAM": "Apple_Terminal"}, False),
        ({"TERM_PROGRAM": "ghostty", "TMUX": "/tmp/x"}, False),
        ({"TERM_PROGRAM": "ghostty", "TERM": "screen-256color"}, False),
    ],
)
def test_the_taskbar_is_only_told_where_it_is_known_to_listen(env: dict[str, str], takes: bool) -> None:
    """Terminals that are not known to take OSC 9;4 never get it, and neither does a multiplexer."""
    assert takes_progress(env) is takes
