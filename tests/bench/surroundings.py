"""What is measured on: the machine, the interpreter, the packages."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "longshore-core",
    "aiometer",
    "anyio",
    "distributed",
    "joblib",
    "loky",
    "mpire",
    "numpy",
    "pebble",
    "ray",
    "taskiq",
)
_ABOUT = """
import importlib.metadata as m, json, platform, sys
def version(name):
    try: return m.version(name)
    except m.PackageNotFoundError: return None
packages = {name: version(name) for name in sys.argv[1:]}
print(json.dumps([platform.python_version(), list(sys.version_info[:2]), packages]))
"""


@dataclass(frozen=True)
class Python:
    """An interpreter to measure with."""

    path: str
    full: str
    version: tuple[int, int]
    packages: Mapping[str, str | None]
    """The versions of those that matter here; None where one is missing."""

    @property
    def short(self) -> str:
        """Its minor version, such as 3.13."""
        return "{}.{}".format(*self.version)


def python(wanted: str) -> Python:
    """Return the interpreter at a path, or of a version, for which an environment is made in the checkout.

    ValueError for a path at which there is none that runs.
    """
    path = _made(wanted) if re.fullmatch(r"\d+\.\d+", wanted) else os.path.abspath(wanted)
    try:
        done = subprocess.run([path, "-c", _ABOUT, *PACKAGES], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise ValueError(f"{path} is no interpreter that runs: {error}") from error
    full, (major, minor), packages = json.loads(done.stdout)
    return Python(path, full, (major, minor), packages)


def _made(version: str) -> str:
    """Return the interpreter of an environment with longshore and the peers; made when first asked for."""
    folder = ROOT / f".venv-bench-{version}"
    print(f"longshore and its peers for Python {version}: {folder.name}", file=sys.stderr)
    command = ["sh", str(ROOT / ".ci/uv"), "sync", "--quiet", "--no-dev", "--group", "bench", "--python"]
    subprocess.run(
        [*command, _from_pyenv(version) or version],
        cwd=ROOT,
        env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(folder)},
        check=True,
    )
    return str(folder / "bin" / "python")


def _from_pyenv(version: str) -> str | None:
    """Return the newest interpreter of this version that pyenv has, where there is one: uv does not look there."""
    try:
        root = subprocess.run(["pyenv", "root"], capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    found = Path(root).glob(f"versions/{version}.*/bin/python")
    finished = [path for path in found if path.parts[-3].removeprefix(f"{version}.").isdigit()]
    return str(max(finished, key=lambda path: int(path.parts[-3].rpartition(".")[2]))) if finished else None


def about(options: argparse.Namespace, other: Python) -> dict[str, str]:
    """Return when and on what a row is measured, and how."""
    small = " (small: to see that it works; the figures mean nothing)" if options.small else ""
    return {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "python": other.full,
        "packages": ", ".join(f"{name} {version}" for name, version in other.packages.items() if version is not None),
        "rounds": f"{options.rounds}, interleaved, a fresh process each{small}",
    }


def machine() -> str:
    """Return what the measurements run on, in a few words."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory_gib = psutil.virtual_memory().total / 2**30
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return f"{_processor()}, {usable} usable CPUs, {memory_gib:.0f} GiB, {system}"


def _processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown processor"
    found = re.search(r"^model name\s*: (.+)$", told, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or "unknown processor"
