"""Our plugins enter by the door a stranger's plugin uses."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PUBLIC = {"hookspecs", "events", "task", "records", "errors", "processor", "worker", "shared", "chaos", "cgroups"} | {
    "keeping",
    "pickling",
    "runs",
    "batching",
}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything a file imports, `from a import b` as both a and a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def refused(name: str, own: str, public: set[str]) -> bool:
    """Tell whether a plugin whose package is `own` may not import this name."""
    head, _, rest = name.partition(".")
    if head.startswith("longshore_"):
        return head != own
    first, _, inner = rest.partition(".")
    if head != "longshore" or not first:
        return False
    if first in public:
        return any(part.startswith("_") for part in inner.split("."))
    return inner != "" or first.startswith(
        "_"
    )  # longshore.pool.x, longshore._x; `from longshore import WorkerPool` is fine


def offences(folder: Path, part: str, public: set[str]) -> list[str]:
    """Return the refused imports under one folder of a plugin."""
    own = f"longshore_{folder.name}"
    return [
        f"{path.relative_to(folder.parent)}:{line} {name}"
        for path in sorted((folder / part).rglob("*.py"))
        for line, name in imports(path)
        if refused(name, own, public)
    ]


def test_plugins_import_only_public_modules_and_no_other_plugin(plugin_folders: list[Path]) -> None:
    """No underscore of ours, none of the front's modules, and no other plugin in any plugin's code."""
    assert [offence for folder in plugin_folders for offence in offences(folder, "src", PUBLIC)] == []


def test_plugin_tests_also_use_longshore_testing_and_nothing_more(plugin_folders: list[Path]) -> None:
    """The tests of a plugin could be a stranger's, too."""
    public = PUBLIC | {"testing"}
    assert [offence for folder in plugin_folders for offence in offences(folder, "tests", public)] == []


def test_the_rule_refuses_what_it_should() -> None:
    """The rule itself: private and front modules and other plugins are refused, public names are not."""
    wrong = [
        "longshore._engine",
        "longshore.pool.WorkerPool",
        "longshore_rich",
        "longshore.task._x",
        "longshore.cli.main",
    ]
    right = [
        "longshore",
        "longshore.WorkerPool",
        "longshore.task.Task",
        "longshore_jsonl.sink",
        "json",
        "longshore.events",
    ]
    assert [name for name in wrong if not refused(name, "longshore_jsonl", PUBLIC)] == []
    assert [name for name in right if refused(name, "longshore_jsonl", PUBLIC)] == []
