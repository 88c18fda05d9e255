"""The command that starts a fresh interpreter for a process of ours, with the modules this one can import."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Final

_BOOT: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from longshore_processes.{module} import main; main({arguments})"
)


def command(python: str, module: str, *arguments: object) -> list[str]:
    """Return the command that calls `main` of a module of this package with plain arguments."""
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    code = _BOOT.format(module=module, arguments=", ".join(repr(argument) for argument in arguments))
    return [python, *flags, "-c", code, json.dumps(sys.path)]
