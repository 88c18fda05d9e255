"""The reference is what the code says."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import longshore
import pytest
from longshore import errors

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/reference"


def documented() -> set[str]:
    """Return what pages of the reference document: modules, or names with their modules."""
    return {
        name for page in REFERENCE.glob("*.md") for name in re.findall(r"^::: ([\w.]+)", page.read_text("utf-8"), re.M)
    }


def public_names(module: ModuleType) -> set[str]:
    """Return what a module gives to others: `__all__`, or what it defines or imports "as" the same name."""
    if hasattr(module, "__all__"):
        return set(module.__all__)
    passed_on = re.findall(r"import (\w+) as \1$", Path(str(module.__file__)).read_text("utf-8"), re.MULTILINE)
    own = {name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__}
    return {name for name in own | set(passed_on) if not name.startswith("_")}


def test_every_public_name_has_its_place_in_the_reference() -> None:
    """By itself, or with the whole of the module that it is defined in."""
    there, missing = documented(), set()
    folder = Path(longshore.__file__).parent
    modules = {path.stem for path in folder.iterdir() if path.name[0] not in "_." and path.suffix in ("", ".py")}
    for name in ["longshore", *(f"longshore.{each}" for each in modules - {"chaos", "cli", "testing"})]:
        module = importlib.import_module(name)
        for each in public_names(module):
            value = getattr(module, each)
            home = getattr(value, "__module__", name)
            homes = {home, f"{home}.{getattr(value, '__name__', each)}", home.rpartition("._")[0]}
            if callable(value) and home.startswith("longshore.") and not homes & there:
                missing.add(f"{home}.{each}")
    assert missing == set()


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    """The page has what stands above the code, and every error there is stands in it."""
    page = (REFERENCE / "errors.md").read_text(encoding="utf-8")
    tree = (errors.__doc__ or "").split("\n\n")[1].strip()
    assert tree in page
    assert {name for name, value in vars(errors).items() if isinstance(value, type)} - {"Any"} <= set(
        re.findall(r"\w+", tree)
    ) | {"ResourceError"}


@pytest.mark.slow
def test_the_page_of_settings_is_what_the_models_say() -> None:
    """Whoever changes a setting makes the page anew: `uv run python docs/make_settings.py`."""
    command = [sys.executable, "docs/make_settings.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
