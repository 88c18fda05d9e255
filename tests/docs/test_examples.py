"""What the pages show is true: every block of code of every page runs, or says why not. See conftest.py for how."""

from __future__ import annotations

import ast
import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from longshore import Settings
from longshore._pipeline_tables import PipelineTable
from longshore.hookspecs import KINDS
from longshore.plugins import PluginHost

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    {*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("plugins/*/README.md")}
)
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]
LANGUAGES = {"python", "sh", "toml", "json", "text", "yaml", "nginx"}
NOTES = {"not run", "goes on", "ends with", "in any order", "with stderr", "before", "prints"}
APART = {"docs/tutorial.md"}  # done in a clean environment by test_tutorial.py
LONG = {"plugins/ray/README.md"}  # starts a cluster for what docs/how-to/ray.md does too
WITH_CODE = [
    pytest.param(name, marks=[pytest.mark.long] if name in LONG else [])
    for name in NAMES
    if name not in APART and {"```python", "```sh"} & set((ROOT / name).read_text("utf-8").splitlines())
]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", WITH_CODE)
def test_a_page_does_what_it_shows(name: str, reader: Any) -> None:  # Any: a class of the conftest
    """Done line by line as it stands, all of it works, and prints what is shown below it."""
    reader.follow(ROOT / name)


@pytest.mark.parametrize("name", NAMES)
def test_no_block_escapes(name: str, blocks: Callable[[Path], Sequence[Any]]) -> None:
    """Each block names a language that is known here, parses as what it is, and gives a reason if it is not run."""
    for block in blocks(ROOT / name):
        where = f"{name}, line {block.line}"
        assert block.language in LANGUAGES, f"{where}: a block of {block.language or 'no language'}"
        assert set(block.notes) <= NOTES | {"catalogue"}, f"{where}: {set(block.notes) - NOTES} means nothing"
        assert block.notes.get("not run") != "", f"{where}: give the reason why it is not run"
        if "not run" in block.notes:
            continue
        if block.language == "python" and "goes on" not in block.notes:
            ast.parse(block.text, where, feature_version=(3, 11))
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "toml":
            check_table(tomllib.loads(block.text), where)


@pytest.mark.parametrize(
    "project", sorted((ROOT / "docs/examples").glob("*/pyproject.toml")), ids=lambda p: p.parent.name
)
def test_who_copies_an_example_is_told_how_to_run_its_tests(
    project: Path, blocks: Callable[[Path], Sequence[Any]]
) -> None:
    """Its page installs the extra that has what the tests need, pytest's plugins included, and runs them."""
    wanted = tomllib.loads(project.read_text("utf-8"))["project"]["optional-dependencies"]["test"]
    assert any(each.startswith("anyio") for each in wanted)
    shown = [block.text for block in blocks(project.parent / "README.md") if block.language == "sh"]
    assert any("pip install '.[test]'\npytest" in text for text in shown)


def check_table(whole: dict[str, Any], where: str) -> None:  # Any: TOML values
    """Validate settings as they would be read, those of plugins and pipelines with them, and entry points by kind."""
    for group in whole.get("project", {}).get("entry-points", {}):
        assert group.removeprefix("longshore.") in KINDS, f"{where}: no plugins are of the kind {group}"
    table = whole.get("tool", {}).get("longshore")
    if table is None:
        return
    settings, host = Settings.model_validate(table), PluginHost()
    for kind in KINDS:
        for plugin, options in settings.tables(kind).items():
            if any(each.name == plugin for each in host.candidates(kind)):
                model = getattr(host.load(kind, plugin), "Settings", None)
                assert model is not None or not options, f"{where}: {plugin} has no settings"
                assert model is None or model.model_validate(options)
    for pipeline in settings.pipelines.values():
        PipelineTable.model_validate(pipeline)
