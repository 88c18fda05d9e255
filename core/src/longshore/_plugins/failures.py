"""The last failure of each plugin, in one small file: so that a listing can tell of it without importing anything.

A hint, not a ledger: whatever goes wrong in reading or writing it is passed over, and of two writers the last one wins.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from longshore._plugins.records import Candidate

_SIZE_CAP: Final = 1_000_000
_REASON_CAP: Final = 500


class Failure(Struct, frozen=True):
    """Why a version of a plugin could not be used when it was last tried."""

    version: str
    reason: str


class FailureFile:
    """The recorded failures at `path`; with None nothing is kept. Callable from any thread, one call at a time."""

    def __init__(self, path: Path | None) -> None:
        """Keep the path; nothing is read yet."""
        self._path = path

    def reason(self, candidate: Candidate, failures: Mapping[str, Failure]) -> str | None:
        """Return why this candidate failed last; a failure of another version of its distribution does not count."""
        last = failures.get(_key(candidate))
        return last.reason if last is not None and last.version == candidate.version else None

    def read(self) -> dict[str, Failure]:
        """Return all recorded failures; an unreadable, foreign or oversized file counts as none."""
        if self._path is None:
            return {}
        try:
            with self._path.open("rb") as file:
                data = file.read(_SIZE_CAP + 1)
            return {} if len(data) > _SIZE_CAP else msgspec.json.decode(data, type=dict[str, Failure])
        except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
            return {}

    def record(self, candidate: Candidate) -> None:
        """Remember why this candidate failed."""
        failures = self.read()
        failures[_key(candidate)] = Failure(candidate.version, candidate.reason[:_REASON_CAP])
        self._write(failures)

    def clear(self, candidate: Candidate) -> None:
        """Forget a failure of this candidate, since it can be used again; nothing is written when there is none."""
        failures = self.read()
        if failures.pop(_key(candidate), None) is not None:
            self._write(failures)

    def _write(self, failures: Mapping[str, Failure]) -> None:
        if self._path is None:
            return
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # a temporary file is 0600, and stays so under its new name
            with tempfile.NamedTemporaryFile(dir=self._path.parent, prefix=".plugin-failures.", delete=False) as file:
                file.write(msgspec.json.encode(failures))
            try:
                Path(file.name).replace(self._path)
            except OSError:
                Path(file.name).unlink()


def _key(candidate: Candidate) -> str:
    return f"{candidate.kind}:{candidate.name}:{candidate.distribution}"
