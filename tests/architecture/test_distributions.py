"""The distributions fit together: bounds written by hand, one licence, one shape of folder."""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

DEFAULT = {"asyncio", "threads", "processes", "psutil", "rich", "jsonl", "sqlite", "documents"}


def project(folder: Path) -> dict[str, Any]:  # Any: TOML values
    """Return the `[project]` table of a distribution."""
    text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    return dict(tomllib.loads(text)["project"])


@pytest.fixture(scope="module")
def projects(root: Path, plugin_folders: list[Path]) -> dict[str, dict[str, Any]]:  # Any: TOML values
    """Return the `[project]` tables of all our distributions, by name."""
    return {table["name"]: table for table in map(project, [root, root / "core", *plugin_folders])}


def requirements(table: dict[str, Any]) -> list[Requirement]:
    """Return what a distribution needs, extras included."""
    extras = table.get("optional-dependencies", {}).values()
    return [Requirement(text) for text in [*table.get("dependencies", []), *(one for extra in extras for one in extra)]]


def test_every_dependency_has_a_lower_and_an_upper_bound(projects: dict[str, dict[str, Any]]) -> None:
    """No requirement is open at either end: a library meets its users' resolver."""
    loose = [
        f"{name}: {requirement}"
        for name, table in projects.items()
        for requirement in requirements(table)
        if {specifier.operator for specifier in requirement.specifier} != {">=", "<"}
    ]
    assert loose == []


def test_bounds_between_our_distributions_hold_what_is_built_here(projects: dict[str, dict[str, Any]]) -> None:
    """Each of ours accepts the versions of the others in this tree, and not those of the next minor one."""
    wrong = []
    for name, table in projects.items():
        for requirement in requirements(table):
            if requirement.name in projects:
                here = Version(projects[requirement.name]["version"])
                after = Version(f"{here.major}.{here.minor + 1}")
                if here not in requirement.specifier or after in requirement.specifier:
                    wrong.append(f"{name}: {requirement} with {here} here")
    assert wrong == []


def test_what_the_distributions_need_of_each_other(projects: dict[str, dict[str, Any]]) -> None:
    """`longshore` brings the core with its command line and the default plugins; a plugin needs the core only."""
    ours = {
        name: {requirement.name for requirement in requirements(table) if requirement.name in projects}
        for name, table in projects.items()
    }
    plugins = {f"longshore-{name}" for name in DEFAULT}
    assert plugins | {"longshore-core"} <= ours.pop("longshore")
    assert ours.pop("longshore-core") == set()
    assert {name: needs for name, needs in ours.items() if needs != {"longshore-core"}} == {}


def test_all_say_the_same_of_version_python_and_licence(projects: dict[str, dict[str, Any]]) -> None:
    """One version, one lowest Python, one licence."""
    assert len({table["version"] for table in projects.values()}) == 1
    assert {table["requires-python"] for table in projects.values()} == {">=3.11"}
    assert {table["license"] for table in projects.values()} == {"Apache-2.0"}


def test_every_plugin_folder_could_be_copied_as_a_template(plugin_folders: list[Path]) -> None:
    """A plugin has a readme, a licence, a typed package of its own name, and tests."""
    for folder in plugin_folders:
        package = folder / "src" / f"longshore_{folder.name}"
        wanted = [folder / "README.md", folder / "LICENSE", package / "__init__.py", package / "py.typed"]
        assert [str(path) for path in wanted if not path.is_file()] == []
        assert list((folder / "tests").glob("test_*.py")), f"{folder.name} has no tests"


def test_every_entry_point_leads_to_a_class_of_the_plugin_itself(plugin_folders: list[Path]) -> None:
    """What a plugin announces is there, is a class, and carries the contract's version."""
    for folder in plugin_folders:
        for group, names in project(folder)["entry-points"].items():
            for name, value in names.items():
                assert value.startswith(f"longshore_{folder.name}:"), f"{group} {name} = {value}"
                [announced] = entry_points(group=group, name=name)
                assert isinstance(announced.load(), type)
                assert announced.load().api == 1


@pytest.mark.requirement("req:N01")
def test_every_distribution_is_for_the_same_pythons(projects: dict[str, dict[str, Any]]) -> None:
    """Python 3.11 is the floor of each, and each names the versions it is tested on; this one is among them."""
    for name, table in projects.items():
        said = {line.rpartition(" ")[2] for line in table["classifiers"] if "Language :: Python" in line}
        assert (name, table["requires-python"], said) == (name, ">=3.11", {"3.11", "3.12", "3.13"})
        assert f"{sys.version_info[0]}.{sys.version_info[1]}" in said


@pytest.mark.requirement("req:N04")
def test_every_suite_of_the_specification_has_tests(root: Path, python_files: list[Path]) -> None:
    """Each of the twelve suites is a marker, and tests carry it."""
    markers = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["ini_options"]["markers"]
    kinds = ("unit", "integration", "performance")
    suites = [name for name, _, text in (line.partition(": ") for line in markers) if text.split(",")[0] in kinds]
    assert len(suites) == 12
    tests = "".join(path.read_text("utf-8") for path in python_files if path.name.startswith("test_"))
    assert [suite for suite in suites if f"pytest.mark.{suite}" not in tests] == []
