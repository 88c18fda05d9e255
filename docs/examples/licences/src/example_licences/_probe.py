"""The probe: what a licence server says of its seats, as what tasks may reserve.

It understands the lines of `lmstat -a`, of which a file may hold a copy that somebody else renews:

    Users of cad:  (Total of 10 licenses issued;  Total of 3 licenses in use)
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from longshore.hookspecs import hookimpl
from longshore.records import Reading, ReadRequest, Usage
from pydantic import BaseModel, ConfigDict, Field, model_validator

_LINE = re.compile(
    r"^Users of ([^:\s]+):\s+\(Total of (\d+) licenses? issued;\s+Total of (\d+) licenses? in use\)", re.MULTILINE
)
_KIND = "licence"


class LicenceSettings(BaseModel):
    """The table `[tool.longshore.probes.licences]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: tuple[str, ...] = ()
    """What prints the state of the server, such as `["lmstat", "-a"]`; no shell reads it."""
    file: str | None = None
    """A file with the same lines, in place of a command."""
    features: tuple[str, ...] = Field(min_length=1)
    """The licences that tasks ask for; of others nothing is told."""
    period_s: float = Field(default=15.0, gt=0, le=3600)
    timeout_s: float = Field(default=10.0, gt=0, le=300)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.command) == bool(self.file):
            raise ValueError("set either `command` or `file`")
        return self


class LicenceProbe:
    """Reads `licence.NAME` for each feature: seats in use, and seats there are."""

    api = 1
    Settings = LicenceSettings

    def __init__(self, settings: LicenceSettings) -> None:
        """Keep the settings; nothing is asked yet."""
        self._settings = settings

    @property
    def resources(self) -> Sequence[str]:
        """One kind of resource: every key begins with it."""
        return (_KIND,)

    @property
    def period_s(self) -> float:
        """Seconds between two readings."""
        return self._settings.period_s

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        """Ask the server, which may raise: the pool goes on, with the last reading for a while.

        A feature that the server does not name has no seats: a task that needs one is refused, and waits for nothing.
        """
        found = seats(self._text())
        usage = {f"{_KIND}.{name}": found.get(name, Usage(0, 0)) for name in self._settings.features}
        return Reading(datetime.now(UTC), usage)

    def _text(self) -> str:
        settings = self._settings
        if settings.file is not None:
            return Path(settings.file).read_text(encoding="utf-8", errors="replace")
        done = subprocess.run(
            settings.command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=settings.timeout_s,
            env={**os.environ, "LC_ALL": "C"},  # its lines are read in English
            check=True,
        )
        return done.stdout


def seats(text: str) -> Mapping[str, Usage]:
    """Return the seats of each licence in what `lmstat -a` printed; ValueError where it names none."""
    found = {name: Usage(float(used), float(issued)) for name, issued, used in _LINE.findall(text)}
    if not found:
        raise ValueError("no line of the licence server's answer tells of seats: is the server up?")
    return found
