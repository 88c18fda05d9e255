"""What a new plugin may be called, and what its distribution is made of."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable

import pytest
from longshore.cli.console import UsageError
from longshore.cli.plugins import kind_of
from longshore.cli.scaffold import Names, check_free, files_of, names_of
from longshore.hookspecs import KINDS
from longshore.plugins import Candidate


def candidate(kind: str, name: str, distribution: str) -> Candidate:
    return Candidate(kind=kind, name=name, distribution=distribution, version="1.0", value="some:Thing")


@pytest.mark.parametrize(
    ("name", "distribution", "expected"),
    [
        ("chat", None, ("longshore-chat", "longshore_chat", "Chat")),
        ("two-words", None, ("longshore-two-words", "longshore_two_words", "TwoWords")),
        ("two_words", None, ("longshore-two-words", "longshore_two_words", "TwoWords")),
        ("chat", "Acme.Chat", ("Acme.Chat", "acme_chat", "Chat")),
        ("chat-sink", None, ("longshore-chat-sink", "longshore_chat_sink", "Chat")),
        ("sink", None, ("longshore-sink", "longshore_sink", "Sink")),
        ("class", None, ("longshore-class", "longshore_class", "Class")),
    ],
)
def test_a_name_is_spelt_as_each_place_wants_it(
    name: str, distribution: str | None, expected: tuple[str, str, str]
) -> None:
    """One name for settings, one for an index, one for Python's modules, one for its classes."""
    names = names_of("sinks", name, distribution)
    assert (names.name, names.distribution, names.package, names.stem) == (name, *expected)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Chat", "'chat' would do"),
        ("my chat", "'my-chat' would do"),
        ("3d", "'d' would do"),
        ("chat!", "'chat' would do"),
        ("a--b", "'a-b' would do"),
        ("x" * 33, "would do"),
        ("岸", "at most 32 in all"),
        ("", "at most 32 in all"),
        ("../up", "'up' would do"),
    ],
)
def test_a_name_that_will_not_do_is_refused(name: str, hint: str) -> None:
    """The message says what a name may be, and where there is one, a near one that would do."""
    with pytest.raises(UsageError, match="can't be the name of a plugin") as refused:
        names_of("sinks", name)
    assert hint in str(refused.value)


@pytest.mark.parametrize("name", ["test", "tests", "test-room", "testing", "test_room"])
def test_a_name_whose_class_pytest_would_collect_is_refused(name: str) -> None:
    """The tests of such a plugin would fail before anything in it was changed."""
    with pytest.raises(UsageError, match=r"would have a class Test[A-Za-z]*Sink, which pytest takes for tests"):
        names_of("sinks", name)
    assert names_of("sinks", f"my-{name}").stem.startswith("My")


@pytest.mark.parametrize(
    ("distribution", "words"),
    [
        ("json", "a module of Python's own library: name it longshore-json"),
        ("class", "a keyword of Python: name it longshore-class"),
        ("a b", "can't be the name of a distribution"),
        ("-chat", "can't be the name of a distribution"),
        ("chat-", "can't be the name of a distribution"),
        ("2chat", "can't be the name of a distribution"),
        ("x" * 65, "at most 64 in all"),
    ],
)
def test_a_distribution_that_could_not_be_imported_is_refused(distribution: str, words: str) -> None:
    """A keyword, a module of the standard library, and what no index takes, before anything is written."""
    with pytest.raises(UsageError, match=re.escape(words)):
        names_of("sinks", "chat", distribution)


@pytest.mark.parametrize(
    ("given", "kind"), [("sinks", "sinks"), ("sink", "sinks"), ("hooks", "hooks"), ("hook", "hooks")]
)
def test_a_kind_may_be_named_in_the_singular(given: str, kind: str) -> None:
    """`plugins new sink chat` is what people write."""
    assert kind_of(given) == kind


def test_an_unknown_kind_is_refused() -> None:
    """With the near one where there is one, else with all."""
    with pytest.raises(UsageError, match="did you mean sinks"):
        kind_of("sinkz")
    with pytest.raises(UsageError, match="there are executors, probes"):
        kind_of("quux")


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("executors", "inline", "the core's own"),
        ("sinks", "rich", "longshore-rich is one of longshore's own"),
        ("sinks", "taken", r"sink taken \(acme-taken 1.0\) has this name already"),
    ],
)
def test_a_name_that_somebody_has_is_refused(kind: str, name: str, words: str) -> None:
    """Two plugins of one name could not be used beside each other, so there is no second one made."""
    with pytest.raises(UsageError, match=words):
        check_free(names_of(kind, name), [candidate("sinks", "taken", "acme-taken")])


def test_a_name_of_another_kind_is_free() -> None:
    """A sink and a probe may have one name."""
    assert check_free(names_of("probes", "taken"), [candidate("sinks", "taken", "acme-taken")]) == []


def test_a_module_that_is_there_already_is_not_made_again() -> None:
    """Two distributions with one module would overwrite each other."""
    with pytest.raises(UsageError, match="there is a module msgspec already"):
        check_free(Names("sinks", "chat", "not-msgspec", "msgspec", "Chat"), [])


@pytest.mark.parametrize("name", ["pytest", "Pydantic", "typing_extensions", "ruff", "cyclopts", "rich"])
def test_what_longshore_or_the_plugin_needs_is_not_made_anew(name: str) -> None:
    """Installing it would take away what longshore runs on, what that needs, or what the plugin is tested with."""
    with pytest.raises(UsageError, match=f"{name} is what longshore or the new plugin itself needs"):
        check_free(names_of("sinks", "chat", name), [])


def test_making_the_installed_one_anew_is_noted() -> None:
    """Who has installed it may make it again elsewhere, and is told what an installation would do."""
    (note,) = check_free(Names("sinks", "chat", "hypothesis", "hypothesis", "Chat"), [])
    assert note.startswith("hypothesis ")
    assert "takes its place" in note


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest) -> tuple[Names, dict[str, str]]:
    """The files of a plugin of each kind."""
    names = names_of(request.param, "two-words", "acme-things")
    return names, files_of(names)


def test_nothing_is_left_open(made: tuple[Names, dict[str, str]]) -> None:
    """Every file is there and whole, no placeholder is left, and Python and TOML parse."""
    names, files = made
    assert {"pyproject.toml", "README.md", ".gitignore", "tests/test_conformance.py"} <= set(files)
    assert f"src/{names.package}/py.typed" in files
    for path, text in files.items():
        assert "$" not in text, path
        if path.endswith(".py"):
            ast.parse(text, path, feature_version=(3, 11))
        elif path.endswith(".toml"):
            tomllib.loads(text)


def test_the_project_says_what_it_is_and_needs(made: tuple[Names, dict[str, str]]) -> None:
    """One entry point of its kind leads to a class that is there; bounds, types and the suite's extra are set."""
    names, files = made
    whole = tomllib.loads(files["pyproject.toml"])
    project = whole["project"]
    assert project["name"] == "acme-things"
    ((group, points),) = project["entry-points"].items()
    assert group == f"longshore.{names.kind}"
    ((name, value),) = points.items()
    package, _, cls = value.partition(":")
    assert (name, package) == ("two-words", "acme_things")
    assert f'"{cls}"' in files["src/acme_things/__init__.py"]
    assert any(f"class {cls}:" in text for text in files.values())
    assert all(">=" in line and "<" in line for line in project["dependencies"])
    assert any(line.startswith("longshore-core[testing]>=") for line in whole["dependency-groups"]["dev"])
    assert whole["tool"]["mypy"]["strict"] is True


def test_its_bounds_are_the_next_version_that_may_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the next minor version before 1.0, up to the next major one from then on."""
    for version, bounds in (("0.3.1", ">=0.3.1,<0.4"), ("1.2.0", ">=1.2.0,<2"), ("0.4.0rc1", ">=0.4.0rc1,<0.5")):
        monkeypatch.setattr("importlib.metadata.version", lambda name, version=version: version)
        assert f'"longshore-core{bounds}"' in files_of(names_of("pipelines", "x"))["pyproject.toml"]


def test_templates_import_public_modules_only(
    made: tuple[Names, dict[str, str]], imported: Callable[[str], set[str]]
) -> None:
    """What a plugin starts from keeps to the door that plugins enter by."""
    for path, text in made[1].items():
        if path.endswith(".py"):
            of_ours = {name for name in imported(text) if name.startswith("longshore")}
            assert not [name for name in of_ours if "._" in name], path
            assert path.startswith("tests/") or "longshore.testing" not in of_ours, path


@pytest.fixture
def imported() -> Callable[[str], set[str]]:
    """The modules that a source imports."""

    def read(text: str) -> set[str]:
        return {
            name
            for node in ast.walk(ast.parse(text))
            for name in (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else []
            )
        }

    return read
