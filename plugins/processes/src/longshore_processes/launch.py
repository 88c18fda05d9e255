"""The command that starts a fresh interpreter for a process of ours, with this one's modules and arguments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Final

_BOOT: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); del sys.argv[:2]; "
    "from longshore_processes.{module} import main; main({arguments})"
)


def command(python: str, module: str, *arguments: object) -> list[str]:
    """Return the command that calls `main` of a module of this package with plain arguments."""
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    code = _BOOT.format(module=module, arguments=", ".join(repr(argument) for argument in arguments))
    words: list[Any] = [*sys.argv]  # Any: a program may put in what it likes
    said = [word for word in words if isinstance(word, str) and "\0" not in word]
    return [python, *flags, "-c", code, json.dumps(sys.path), *said]


def folder() -> str | None:
    """Return where to start it: None for the current folder, or the root where that is gone.

    There Python 3.13.0 can import no socket.
    """
    try:
        os.getcwd()
    except OSError:
        return os.sep
    return None
