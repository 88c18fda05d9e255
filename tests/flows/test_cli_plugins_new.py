"""Promises of `longshore plugins new`; what is made is built, typed and tried whole by `.ci/made_plugins`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from longshore.hookspecs import KINDS

Command = Any  # the fixture's class: test modules cannot import a conftest


def test_a_plugin_is_made_and_the_next_steps_are_told(inside: Command) -> None:
    """The folder has the distribution's name, and what is printed says how to go on and that a licence is missing."""
    code, out, errors = inside("plugins", "new", "sink", "chat")
    assert (code, errors) == (0, "")
    folder = inside.folder / "longshore-chat"
    assert {path.name for path in folder.iterdir()} == {"pyproject.toml", "README.md", ".gitignore", "src", "tests"}
    assert "cd longshore-chat" in out
    assert "longshore plugins check longshore-chat" in out
    assert "licence" in out


def test_the_next_step_can_be_pasted_whatever_the_folder_is_called(inside: Command) -> None:
    """A name with a space or a quote is quoted as a shell wants it."""
    assert "\n  cd 'with space'\n" in inside("plugins", "new", "sinks", "chat", "--output", "with space")[1]


def test_what_is_refused_leaves_nothing_behind(inside: Command) -> None:
    """A distribution that the new plugin itself needs is refused before its folder is made."""
    code, _, errors = inside("plugins", "new", "sinks", "chat", "--distribution", "pytest")
    assert (code, "choose another name" in errors) == (2, True)
    assert not (inside.folder / "pytest").exists()


def test_what_was_made_is_told_as_json(inside: Command) -> None:
    """--json names kind, names, folder and files, for scripts; --output and --distribution say where and what."""
    code, out, _ = inside(
        "plugins", "new", "probes", "tide", "--distribution", "acme-tide", "--output", "a/b", "--json"
    )
    told = json.loads(out)
    assert code == 0
    assert (told["kind"], told["name"], told["distribution"], told["package"]) == (
        "probes",
        "tide",
        "acme-tide",
        "acme_tide",
    )
    assert all((inside.folder / told["folder"] / path).is_file() for path in told["files"])


@pytest.mark.parametrize("there", ["a file in it", "a file in its place"])
def test_nothing_is_overwritten(inside: Command, there: str) -> None:
    """A folder that is not empty, or a file of that name, is refused with 2, and left as it is."""
    place: Path = inside.folder / "longshore-chat"
    if there == "a file in it":
        place.mkdir()
        (place / "mine.txt").write_text("mine")
    else:
        place.write_text("mine")
    code, out, errors = inside("plugins", "new", "sinks", "chat")
    assert (code, out) == (2, "")
    assert "longshore-chat is there already" in errors
    assert "--output" in errors
    assert (place / "mine.txt" if place.is_dir() else place).read_text() == "mine"
    assert len(list(inside.folder.rglob("pyproject.toml"))) == 0


def test_an_empty_folder_will_do(inside: Command) -> None:
    """A folder that was made for it is used."""
    (inside.folder / "here").mkdir()
    assert inside("plugins", "new", "hooks", "guard", "--output", "here")[0] == 0
    assert (inside.folder / "here" / "pyproject.toml").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("boats", "chat"), "no kind of plugin 'boats'"),
        (("sinks", "My Chat"), "'my-chat' would do"),
        (("sinks", "rich"), "one of longshore's own"),
        (("sinks", "chat", "--distribution", "json"), "a module of Python's own library"),
        (("sinks", "chat", "--output", "/dev/null/x"), "can't be written"),
    ],
)
def test_what_can_not_be_made_is_refused(inside: Command, arguments: tuple[str, ...], words: str) -> None:
    """Exit code 2, one line that says what would do, and nothing is left behind."""
    before = set(inside.folder.iterdir())
    code, _, errors = inside("plugins", "new", *arguments)
    assert code == 2
    assert words in errors
    assert "Traceback" not in errors
    assert set(inside.folder.iterdir()) == before


def test_the_help_teaches(inside: Command) -> None:
    """It names the kinds and gives an example that can be typed."""
    _, out, _ = inside("plugins", "new", "--help")
    assert "longshore plugins new sinks chat" in out
    assert all(kind in out for kind in KINDS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "distribution"), [("x", "x-y"), ("a-name-that-is-as-long-as-can-be", "acme-" + "long" * 14)]
)
def test_it_is_tidy_whatever_it_is_called(inside: Command, name: str, distribution: str) -> None:
    """Linter and formatter have nothing to say of any kind, as it is made: lines neither too long nor too short."""
    for kind in KINDS:
        assert inside("plugins", "new", kind, name, "--distribution", distribution, "--output", kind)[0] == 0
    for tool in (("check", "--quiet"), ("format", "--diff", "--quiet")):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *tool, "--no-cache", *KINDS],
            cwd=inside.folder,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
