"""Does each test of a conformance suite notice a plugin that breaks its promise? Mutants are such plugins.

`mutants/<kind>.py` has for each kind of plugin, beside the suite:

- `SUITE`, the suite, or a class of its own that inherits it and has what the suite leaves to be tuned;
- `GOOD`, what makes a plugin that keeps the contract;
- `MUTANTS`, for each test of the suite by its name what makes a plugin that this test has to refuse, or a list of such.
  The first line of its docstring says what is wrong with it.

What makes a plugin is a class or a function, called without arguments; one that has a parameter `folder` is given the
folder of the test, the same one each time. All of a suite are tried in one pytest process, a class for each. What a
mutant never brings is waited for a moment only, or for its own `patience_s`. One with a `whole` that is True is always
tried by the whole suite in its usual order, for a test that what came before could make blind.

    python tests/contracts/mutation.py                # try all, print the table
    python tests/contracts/mutation.py --write        # and put it into docs/conformance.md
    python tests/contracts/mutation.py executors      # one suite
"""

from __future__ import annotations

import argparse
import functools
import importlib
import inspect
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from xml.etree import ElementTree

import pytest

HERE: Final = Path(__file__).parent
PAGE: Final = HERE.parents[1] / "docs/conformance.md"
BEGIN, END = "<!-- mutants: begin -->", "<!-- mutants: end -->"
GOOD_CLASS: Final = "TestGood"
REFUSED_BY: Final = ("AssertionError", "Failed")
"""How a test says that a plugin breaks the contract; any other exception is a fault of the test or of the mutant."""
_LIMIT_S: Final = 540
_PATIENCE_S: Final = 0.5
_INI: Final = "[pytest]\nfilterwarnings =\n    error\nmarkers =\n    slow: takes long\n"


@dataclass(frozen=True)
class Trial:
    """A mutant, the test that has to refuse it, and the name of the class that tries it."""

    test: str
    mutant: Callable[..., Any]
    name: str

    @property
    def chosen(self) -> str:
        """What of its class pytest is to run, where it isn't told to run all."""
        return self.name if getattr(self.mutant, "whole", False) else f"{self.name}::{self.test}"


@dataclass
class Tried:
    """What became of the tests of one class; of those that failed, whether by an assertion."""

    passed: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def kinds() -> list[str]:
    """Return the kinds that have mutants."""
    return sorted(path.stem for path in (HERE / "mutants").glob("[!_]*.py"))


def given(kind: str) -> ModuleType:
    """Return the module with the mutants of a kind."""
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    return importlib.import_module(f"mutants.{kind}")


def tests_of(suite: type) -> list[str]:
    """Return the names of a suite's tests."""
    return [name for name, _ in inspect.getmembers(suite, callable) if name.startswith("test_")]


def wrong_with(mutant: Callable[..., Any]) -> str:
    """Return what is wrong with a mutant, as it says itself."""
    return (mutant.__doc__ or "").strip().partition("\n")[0].rstrip(".")


def trials(kind: str) -> list[Trial]:
    """Return all mutants of a kind, in the order of their tests."""
    found: list[Trial] = []
    for test, some in given(kind).MUTANTS.items():
        for number, mutant in enumerate(some if isinstance(some, Sequence) else [some], start=1):
            name = f"Test_{test.removeprefix('test_')}"
            found.append(Trial(test, mutant, name if number == 1 else f"{name}_{number}"))
    return found


def classes(kind: str) -> dict[str, type]:
    """Return a class of tests for the good plugin and for each mutant; for the module that pytest collects."""
    module = given(kind)
    plugins = {GOOD_CLASS: module.GOOD, **{one.name: one.mutant for one in trials(kind)}}
    fixture = f"make_{kind.removesuffix('s')}"
    made = {name: type(name, (module.SUITE,), {fixture: _fixture(fixture, make)}) for name, make in plugins.items()}
    for name in made.keys() - {GOOD_CLASS}:
        made[name].patience_s = getattr(plugins[name], "patience_s", _PATIENCE_S)  # type: ignore[attr-defined]
    return made


def _fixture(name: str, make: Callable[..., Any]) -> Any:  # Any: pytest's own kind of function
    @pytest.fixture(name=name)
    def made(self: object, tmp_path: Path) -> Callable[[], Any]:
        return functools.partial(make, folder=tmp_path) if "folder" in inspect.signature(make).parameters else make

    return made


def attempt(kind: str, *, whole: bool) -> dict[str, Tried]:
    """Try the good plugin with all tests and each mutant with its own, or with `whole` with all; return how it went."""
    with tempfile.TemporaryDirectory(prefix="longshore-mutants-") as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text(_INI, encoding="utf-8")
        module = folder / f"test_mutants_of_{kind}.py"
        module.write_text(f"from mutation import classes\n\nglobals().update(classes({kind!r}))\n", encoding="utf-8")
        own = [f"{module.name}::{one.chosen}" for one in trials(kind)]
        chosen = [module.name] if whole else [f"{module.name}::{GOOD_CLASS}", *own]
        options = ["-p", "no:xdist", "-p", "no:cacheprovider", "-q", "--tb=no", "--timeout=60", "--junitxml=out.xml"]
        paths = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, f"--basetemp={folder / 'tests'}", *chosen],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": paths, "PYTEST_ADDOPTS": ""},
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        if not (folder / "out.xml").exists():
            raise RuntimeError(f"pytest ended with {done.returncode} and no results:\n{done.stdout}\n{done.stderr}")
        return _read(folder / "out.xml")


def _read(path: Path) -> dict[str, Tried]:
    found: dict[str, Tried] = {}
    for case in ElementTree.parse(path).iter("testcase"):
        tried = found.setdefault(case.attrib["classname"].rpartition(".")[2], Tried())
        test = case.attrib["name"]
        results = {child.tag: child.attrib.get("message", "") for child in case}
        if "error" in results:
            tried.broken[test] = results["error"]
        elif "failure" in results:
            said = results["failure"]
            kept = tried.refused if said.startswith(REFUSED_BY) else tried.broken
            kept[test] = said
        elif "skipped" in results:
            tried.skipped[test] = results["skipped"]
        else:
            tried.passed.add(test)
    return found


def missed(kind: str, tried: Mapping[str, Tried]) -> list[str]:
    """Return in words what is wrong with a suite: tests without a mutant, mutants that live, good plugins refused."""
    module = given(kind)
    tests = set(tests_of(module.SUITE))
    wrong = [f"{test} has no mutant" for test in sorted(tests - set(module.MUTANTS))]
    wrong += [f"there is no test {test}, which has a mutant" for test in sorted(set(module.MUTANTS) - tests)]
    wrong += [f"a mutant of {one.test} does not say what is wrong with it" for one in _silent(kind)]
    good = tried.get(GOOD_CLASS, Tried())
    wrong += [f"the good plugin is refused by {test}: {said}" for test, said in {**good.refused, **good.broken}.items()]
    for trial in trials(kind):
        one = tried.get(trial.name, Tried())
        if trial.test not in one.refused:
            became = one.broken.get(trial.test) or one.skipped.get(trial.test) or "the test passed"
            wrong.append(f"the mutant of {trial.test} ({wrong_with(trial.mutant)}) lives: {became}")
    return wrong


def _silent(kind: str) -> list[Trial]:
    def says_nothing(mutant: Callable[..., Any]) -> bool:
        return not wrong_with(mutant) or mutant.__doc__ in [base.__doc__ for base in getattr(mutant, "__mro__", ())[1:]]

    return [trial for trial in trials(kind) if says_nothing(trial.mutant)]


def rows(kind: str, tried: Mapping[str, Tried]) -> list[str]:
    """Return the table's rows of one kind."""
    lines = []
    for trial in trials(kind):
        one = tried.get(trial.name, Tried())
        others = len({*one.refused, *one.broken} - {trial.test})
        noticed = "yes" if trial.test in one.refused else "**no**"
        lines.append(f"{named(kind, trial)} {noticed} | {others or ''} |")
    return lines


def named(kind: str, trial: Trial) -> str:
    """Return the first three cells of a row."""
    return f"| {kind} | {re.sub('_', ' ', trial.test.removeprefix('test_'))} | {wrong_with(trial.mutant)} |"


def table(lines: Iterable[str]) -> str:
    """Return the whole table."""
    head = [
        "| suite | what it keeps | the plugin that breaks it | noticed | others that notice |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*head, *lines])


def write(text: str) -> None:
    """Put the table into the page."""
    page = PAGE.read_text(encoding="utf-8")
    before, after = page.partition(BEGIN)[0], page.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Try suites, print the table and what is wrong; 1 if anything is."""
    parser = argparse.ArgumentParser(description="Try each test of the conformance suites on a plugin that breaks it.")
    parser.add_argument("kind", nargs="*", choices=[*kinds(), []], help="the suites to try; left out: all")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    asked = parser.parse_args(arguments)
    if asked.write and asked.kind:
        parser.error("--write takes all suites together")
    lines, wrong = [], []
    for kind in asked.kind or kinds():
        tried = attempt(kind, whole=True)
        lines += rows(kind, tried)
        wrong += [f"{kind}: {text}" for text in missed(kind, tried)]
    print(table(lines))
    print(*wrong, sep="\n")
    if asked.write:
        write(table(lines))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
