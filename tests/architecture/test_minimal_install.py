"""The core needs little, and works with that alone."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

NEEDED = {"pluggy", "stevedore", "pydantic", "msgspec", "cloudpickle", "platformdirs", "packaging"}
OPTIONAL = {
    *("nvidia-ml-py", "pynvml", "prometheus-client", "opentelemetry-sdk", "distributed", "dask", "ray"),
    *("starlette", "uvicorn", "psutil", "rich", "cyclopts"),
}

RUN = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
import longshore
print(list(longshore.map(abs, [-1, -2], executor="inline")))
try:
    list(longshore.map(abs, [-1]))
except longshore.PluginError as error:
    print(error)
"""


def table(folder: Path) -> dict[str, list[str]]:
    text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    return dict(tomllib.loads(text)["project"])


def brought_along(requirements: list[str], known: dict[str, Distribution]) -> dict[str, Distribution]:
    """Return the installed distributions that these requirements bring, and what those bring."""
    for text in requirements:
        requirement = Requirement(text)
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if wanted and name not in known:
            known[name] = distribution(name)
            brought_along(known[name].requires or [], known)
    return known


@pytest.mark.requirement("req:N02")
def test_only_a_few_small_libraries_are_needed(root: Path) -> None:
    """The core needs seven small libraries; drawing, measuring, GPUs, metrics, clusters are plugins or extras."""
    core, whole = table(root / "core"), table(root)
    assert {Requirement(text).name for text in core["dependencies"]} == NEEDED
    assert set(brought_along(core["dependencies"], {})) & OPTIONAL == set()
    ours = {Requirement(text).name for text in whole["dependencies"]}
    assert all(name.startswith("longshore-") for name in ours)
    assert not ours & {f"longshore-{name}" for name in ("nvml", "prometheus", "otel", "dask", "ray", "dashboard")}


@pytest.mark.requirement("req:N02")
def test_the_core_works_with_these_alone(root: Path, tmp_path: Path) -> None:
    """With the core and what it needs, and nothing else, tasks run inline; what is missing is named."""
    for found in brought_along(table(root / "core")["dependencies"], {}).values():
        for top in {Path(file.parts[0]) for file in found.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            if not (tmp_path / top).exists():
                (tmp_path / top).symlink_to(Path(str(found.locate_file(top))))
    path = [str(tmp_path), str(root / "core" / "src")]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {path!r}\n{RUN}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "[1, 2]" in done.stdout
    assert "pip install longshore-threads" in done.stdout
