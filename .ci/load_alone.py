"""Load all that one installed distribution announces, with none of ours beside it but those it asks for.

Called by `.ci/run` as `python -I load_alone.py NAME`, in an environment into which only that distribution's
wheel was installed. Prints a line for each thing loaded; exits with the reason when something is wrong.
"""

from __future__ import annotations

import importlib
import re
import sys
from importlib.metadata import distribution, distributions

from longshore.plugins import PluginHost

OURS = "longshore"


def asked_for(name: str) -> set[str]:
    """Return the names of our distributions that this one needs, itself included; every one must be bounded."""
    names = {name}
    for line in distribution(name).requires or []:
        match = re.match(rf"({OURS}[\w-]*)", line)
        if match and "extra ==" not in line:
            if not (">=" in line and "<" in line.replace("<=", "")):
                sys.exit(f"{name}: the wheel's requirement {line!r} has no lower and upper bound")
            names.add(match[1])
    return names


def main(name: str) -> None:
    """Check what is installed, then load every module and every entry point, then try the plugins' contracts."""
    installed = {found.name for found in distributions() if found.name.startswith(OURS)}
    if installed != asked_for(name):
        sys.exit(f"{name} asks for {sorted(asked_for(name))} of ours, but {sorted(installed)} came")
    files = distribution(name).files or []
    for package in sorted({file.parts[0] for file in files if file.suffix == ".py"}):
        print(f"  {importlib.import_module(package).__name__}")
    for point in distribution(name).entry_points:
        print(f"  {point.group} {point.name} {point.load().__name__}")
    for result in PluginHost(failures=None).check():
        if not result.ok:
            sys.exit(f"{result.kind} {result.name}: {result.state.value}: {result.reason}\n{result.error or ''}")


main(sys.argv[1])
