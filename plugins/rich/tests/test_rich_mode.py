"""Which view is chosen, and with what console."""

from __future__ import annotations

import io

import pytest
from longshore_rich._mode import choose_mode, live_console, wants_colour


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
        ({}, True, True),
        ({}, False, False),
    ],
)
def test_the_order_of_colour(env: dict[str, str], terminal: bool, colour: bool) -> None:
    """NO_COLOR, then FORCE_COLOR, then whether it is a terminal."""
    assert wants_colour(terminal=terminal, env=env) is colour


def test_no_colour_still_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without colour the console is still a terminal: colour and animation are two things."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = live_console(io.StringIO(), {"NO_COLOR": "1"})
    assert console.is_terminal
    assert console.is_interactive
    assert console.color_system is None
