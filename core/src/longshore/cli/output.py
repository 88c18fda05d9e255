"""Where the lines of a run go: a file that begins anew, the file of an earlier time, or a descriptor."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from longshore.cli.guard import Guard, guarded
from longshore.cli.lines import Lines, output_file
from longshore.cli.resumed import not_run, resumed_file
from longshore.task import TaskState


class Opened(NamedTuple):
    """An output that is open, and the inputs that have their line in it."""

    lines: Lines
    done: Mapping[str, TaskState]
    guard: Guard
    """Keeps other runs from the file, and is told which run this is."""


@dataclass(frozen=True, slots=True)
class Output:
    """An output that is not open yet."""

    file: str | None
    data: int
    """The descriptor where lines go without a file."""
    again: Callable[[str, TaskState], bool] = not_run
    """Which inputs of an earlier time are to have another line."""

    @contextmanager
    def opened(self, *, resumed: bool) -> Iterator[Opened]:
        """Open it; UsageError if it can't be. `resumed` goes on with what an earlier time has left in a file.

        No other run may have the file meanwhile.
        """
        if self.file is None:
            yield Opened(Lines(self.data), {}, Guard())
            return
        with guarded(self.file) as guard:
            if resumed and (os.path.isfile(self.file) or not os.path.lexists(self.file)):
                with resumed_file(self.file, self.again) as found:
                    yield Opened(Lines(found.descriptor), found.done, guard)
            else:
                with output_file(self.file) as descriptor:
                    yield Opened(Lines(descriptor, anew=True), {}, guard)
