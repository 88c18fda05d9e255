"""Importing longshore is cheap, and a worker starts with no more than it needs."""

from __future__ import annotations

import json
import subprocess
import sys

import longshore

HEAVY = ("pydantic", "stevedore", "pluggy", "cyclopts", "rich", "platformdirs", "cloudpickle", "psutil")
CONTROLLER_ONLY = ("pydantic", "stevedore", "pluggy", "cyclopts")


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules a fresh interpreter has loaded after the statement."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps([name.partition('.')[0] for name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)
    return set(json.loads(done.stdout))


def test_importing_longshore_loads_none_of_its_dependencies() -> None:
    """`import longshore` alone brings none of pydantic, stevedore, pluggy and the others, and no plugin."""
    loaded = loaded_by("import longshore")
    assert loaded & set(HEAVY) == set()
    assert {name for name in loaded if name.startswith("longshore_")} == set()


def test_what_a_worker_imports_is_light() -> None:
    """`longshore.worker` and `longshore.task` load none of pydantic, stevedore, pluggy, cyclopts."""
    loaded = loaded_by("import longshore.worker, longshore.task")
    assert "longshore" in loaded
    assert loaded & set(CONTROLLER_ONLY) == set()


def test_a_started_process_worker_is_light() -> None:
    """A real process worker that runs a task has none of them loaded either."""
    names = f"[m for m in __import__('sys').modules if m in {CONTROLLER_ONLY!r}]"
    [outcome] = longshore.outcomes(eval, [names], executor="processes", timeout=30)
    assert outcome.unwrap() == []


def test_every_public_name_is_importable_from_longshore() -> None:
    """Each name in `longshore.__all__` resolves, is listed by dir(), and a wrong one is an AttributeError."""
    assert [name for name in longshore.__all__ if getattr(longshore, name, None) is None] == []
    assert set(longshore.__all__) <= set(dir(longshore))
    assert [name for name in dir(longshore) if getattr(longshore, name, None) is None] == []
    assert not hasattr(longshore, "no_such_name")
