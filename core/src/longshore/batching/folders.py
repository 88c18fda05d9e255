"""Whether a file was not found because its worker is in another folder; said once, for all files are not found then."""

from __future__ import annotations

import logging
import os
from typing import Final

from longshore.batching.words import Hello, System
from longshore.task import ErrorRecord, Outcome

_log: Final = logging.getLogger("longshore.batching")
_OF_FILES: Final = frozenset({"FileNotFoundError", "NotADirectoryError"})


def working_folder() -> str:
    """Return the folder that relative paths count from in this process; empty where it is gone."""
    try:
        return os.getcwd()
    except OSError:
        return ""


class Folders:
    """Looks at failures of a pool's workers."""

    def __init__(self, system: System) -> None:
        """Have said nothing yet."""
        self._system, self._said = system, False

    def look(self, outcome: Outcome, hello: Hello) -> None:
        """Warn if an attempt failed for want of a file, and its worker is not in the folder of this process."""
        if self._said or outcome.error is None or not _for_want_of_a_file(outcome.error):
            return
        here = working_folder()
        if hello.folder and hello.folder != here:
            self._said = True
            _log.warning(
                "a file could not be read by %s, which is in the folder %s, and this program is in %s: relative paths "
                "mean other files there; give absolute paths, to files that workers have too",
                self._system.worker(hello.name),
                hello.folder,
                here,
            )


def _for_want_of_a_file(error: ErrorRecord) -> bool:
    kind = error.type.rpartition(".")[2]
    return kind in _OF_FILES or (kind == "DocumentError" and error.reason == "unreadable")


__all__ = ["Folders", "working_folder"]
