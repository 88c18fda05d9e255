"""Where things are, for the tests that read the tree instead of running it."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def plugin_folders(root: Path) -> list[Path]:
    """Return the folder of each plugin."""
    return sorted(path.parent for path in (root / "plugins").glob("*/pyproject.toml"))


@pytest.fixture(scope="session")
def plugin_packages(plugin_folders: list[Path]) -> set[str]:
    """Return the names of the packages the plugins bring."""
    return {path.parent.name for folder in plugin_folders for path in (folder / "src").glob("*/__init__.py")}


@pytest.fixture(scope="session")
def python_files(root: Path) -> list[Path]:
    """Return every Python file of ours, tests and examples included."""
    found = [path for part in ("core", "plugins", "tests", "docs") for path in (root / part).rglob("*.py")]
    hidden = (".venv", "build", "dist")
    return sorted(path for path in found if not any(name in hidden for name in path.relative_to(root).parts))
