"""The rooms keep to themselves: import-linter's contracts hold, watch everything, and can be broken."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"

PLANTED = {
    "longshore/stray.py": "",
    "longshore/_delivery/planted.py": "import longshore._engine\nimport longshore.worker\n",
    "longshore/_tracking/planted.py": "import random\nimport longshore.hookspecs\nimport longshore._runtime\n",
    "longshore/task_planted/__init__.py": "import longshore.task_planted.one\n",
    "longshore/task_planted/one.py": "import longshore.task_planted.two\n",
    "longshore/task_planted/two.py": "import longshore.task_planted.one\n",
    "longshore/processor.py": "import pydantic\nimport longshore_jsonl\n",
    "longshore_rich/planted.py": "import longshore._engine\nimport longshore_jsonl\n",
}
"""What is appended to a copy of the tree so that every contract has something to find."""


def lint(root: Path, path: str | None = None) -> str:
    """Run the contracts, on the installed packages or on those under `path`, and return what is printed."""
    environment = dict(os.environ, **({"PYTHONPATH": path} if path else {}))
    done = subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return f"{done.stdout}{done.stderr}\nexit status {done.returncode}"


def contracts(root: Path) -> configparser.ConfigParser:
    """Return the contracts as they are written."""
    parser = configparser.ConfigParser()
    parser.read(root / ".importlinter", encoding="utf-8")
    return parser


def test_the_contracts_hold(root: Path) -> None:
    """Imports go down the stack only, side rooms never meet, deciding and watching are pure."""
    said = lint(root)
    assert said.endswith("exit status 0"), said


def test_every_contract_can_break(root: Path, plugin_folders: list[Path], tmp_path: Path) -> None:
    """A file without a room, a sideways import, impurity, a cycle and a private import are each found."""
    for source in [root / "core", *plugin_folders]:
        shutil.copytree(source / "src", tmp_path, dirs_exist_ok=True)
    for name, text in PLANTED.items():
        planted = tmp_path / name
        planted.parent.mkdir(exist_ok=True)
        with planted.open("a", encoding="utf-8") as file:
            file.write(text)
    said = " ".join(lint(root, str(tmp_path)).split())
    named = contracts(root)
    titles = [named[section]["name"] for section in named.sections() if section.startswith("importlinter:contract")]
    kept = [title for title in titles if f"{title} BROKEN" not in said]
    assert kept == []
    assert "longshore.stray" in said


def test_every_package_of_ours_is_watched(root: Path, plugin_packages: set[str]) -> None:
    """A new plugin is named in the contracts, or this fails."""
    named = contracts(root)
    assert set(named["importlinter"]["root_packages"].split()) == plugin_packages | {"longshore"}
    assert set(named["importlinter:contract:plugins-apart"]["modules"].split()) == plugin_packages
    assert set(named["importlinter:contract:core-alone"]["forbidden_modules"].split()) == plugin_packages


def test_the_map_of_the_core_names_every_file_and_room(root: Path) -> None:
    """A newcomer who reads core/README.md meets each file and each room of the core."""
    text = (root / "core" / "README.md").read_text(encoding="utf-8")
    children = [path for path in (root / "core/src/longshore").iterdir() if path.name != "__pycache__"]
    names = [f"`{path.name}/`" if path.is_dir() else f"`{path.name}`" for path in children if path.name != "py.typed"]
    assert [name for name in names if name not in text] == []


def test_no_module_takes_part_in_an_import_cycle(plugin_packages: set[str]) -> None:
    """Following imports never leads back, not even between a package and its own files."""
    graph = grimp.build_graph("longshore", *sorted(plugin_packages), cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")
