"""What is deprecated is warned of for two minor versions, then it goes: docs/decisions/0053-how-contracts-grow.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

_TEXT = re.compile(r"deprecated since (\d+)\.(\d+), and goes in (\d+)\.(\d+)")
Minor = tuple[int, int]


def faults(source: str, current: Minor) -> list[str]:
    """Return what is wrong with the deprecation warnings of a file, a line each."""
    return [said for line, text in warnings_of(source) if (said := fault(line, text, current)) is not None]


def warnings_of(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of `DeprecationWarning("...")` and `warn("...", DeprecationWarning)`."""
    if "DeprecationWarning" not in source:
        return
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        names = [part.id for part in (node.func, *node.args) if isinstance(part, ast.Name)]
        if "DeprecationWarning" in names and "issubclass" not in names:
            yield node.lineno, "".join(ast.unparse(argument) for argument in node.args)


def fault(line: int, text: str, current: Minor) -> str | None:
    """Return what is wrong with one warning's text."""
    found = _TEXT.search(text)
    if found is None:
        return f"line {line}: its text does not say `deprecated since X.Y, and goes in X.Z`: {text}"
    since, gone = (int(found[1]), int(found[2])), (int(found[3]), int(found[4]))
    if gone < (since[0], since[1] + 2) and gone[0] == since[0]:
        return f"line {line}: from {since} to {gone} it is warned of for less than two minor versions"
    return f"line {line}: it was to go in {gone}, and this is {current}" if current >= gone else None


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ('warn("x is deprecated since 0.2, and goes in 0.4", DeprecationWarning)', None),
        ('DeprecationWarning("x is deprecated since 0.3, and goes in 1.0")', None),
        ('warn("x is deprecated since 0.1, and goes in 0.3", DeprecationWarning)', "it was to go in"),
        ('DeprecationWarning("x is deprecated since 0.3, and goes in 0.4")', "less than two minor versions"),
        ('warnings.warn("x is old", DeprecationWarning)', "does not say"),
    ],
)
def test_a_warning_that_breaks_the_policy_is_found(source: str, said: str | None) -> None:
    """One past its removal, one that was too short, one that does not say when: each is named."""
    found = faults(source, (0, 3))
    assert found == [] if said is None else said in found[0]


def test_nothing_deprecated_is_past_its_removal(root: Path) -> None:
    """Every deprecation of the core and of our plugins is within its two minor versions."""
    major, minor, *_ = version("longshore-core").split(".")
    files = [*root.glob("core/src/**/*.py"), *root.glob("plugins/*/src/**/*.py")]
    assert files
    found = {file.name: faults(file.read_text(encoding="utf-8"), (int(major), int(minor))) for file in files}
    assert {name: said for name, said in found.items() if said} == {}
