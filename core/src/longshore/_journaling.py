"""A pool and its journal: opened with the run, told of what the run has learnt, closed with what became of it.

Used by the pool alone; without a journal nothing of this is made.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from longshore._engine.engine import Engine
from longshore._engine.recall import Recall
from longshore._identifying import Identifying
from longshore._run_end import RunEnd
from longshore._runtime.commit import Committer, Notes
from longshore._runtime.learnt import LEARNT
from longshore._runtime.recalling import Recalling
from longshore._runtime.recording import Recorder
from longshore._setup import versions_of, without_secrets
from longshore.errors import JournalError
from longshore.hookspecs import Journal
from longshore.plugins import PluginHost
from longshore.records import HISTORY_STATE, Recalled, RunHistory, RunInfo, RunOpening
from longshore.settings import Settings
from longshore.task import Outcome, TaskSpec

LEARNT_EVERY_S = 5.0
"""What was learnt of tasks is kept so often, if it has changed, and at the end."""


class Journaling:
    """The journal of one run."""

    def __init__(
        self,
        journal: Journal,
        opening: RunOpening,
        *,
        told: Callable[[TaskSpec, Sequence[Outcome]], None],
        after: Callable[[], None],
        failed: Callable[[BaseException], None],
        again: bool,
    ) -> None:
        """Open nothing yet; `again` says whether what failed in the run before is to be run again."""
        self._journal = journal
        self._committer = Committer(journal, opening, told=told, after=after, failed=failed)
        self._opening = opening
        self._again = again
        self._identities = Identifying()
        self._recalled = Recalled()
        self._engine: Engine | None = None
        self._changes = 0
        self._timer: asyncio.TimerHandle | None = None
        self.recorder = Recorder(self._committer, self._identities.kind)
        self.recalling = Recalling(self.recorder, self._identities)

    async def open(self) -> None:
        """Open the journal; JournalError if that fails."""
        self._recalled = recalled = await self._committer.start()
        if self._opening.resume:
            try:
                recall = Recall(recalled, failed=self._again)
            except JournalError:
                await self._committer.stop(_CLOSE_S)
                raise
            self.recalling = Recalling(self.recorder, self._identities, recall)

    @property
    def learnt(self) -> Mapping[str, Any]:  # Any: JSON-safe values
        """What the run had learnt of its tasks when it was left."""
        learnt = self._recalled.states.get(LEARNT)
        return learnt if isinstance(learnt, Mapping) else {}

    def folder(self, run_id: str) -> str | None:
        """Return the folder of a run; None of a journal that has none."""
        named = getattr(self._journal.archive(), "folder", None)
        return str(named(run_id)) if named is not None else None

    @property
    def history(self) -> RunHistory:
        """What is recorded of the run over its time, before it went on; empty for one that begins."""
        return RunHistory.from_state(self._recalled.states.get(HISTORY_STATE))

    def busy_s(self) -> float:
        """Return for how many seconds the journal has been at its commit; from any thread."""
        return self._committer.busy_s()

    def begin(self, engine: Engine) -> None:
        """Keep what `engine` learns, from now on."""
        self._engine, self._changes = engine, engine.learnt_changes
        self._timer = asyncio.get_running_loop().call_later(LEARNT_EVERY_S, self._tick)

    def _tick(self) -> None:
        self._keep()
        self._timer = asyncio.get_running_loop().call_later(LEARNT_EVERY_S, self._tick)

    def _keep(self) -> None:
        """Have what the engine has learnt kept, if there is more of it than there was."""
        engine = self._engine
        if engine is not None and engine.learnt_changes != self._changes:
            self._changes = engine.learnt_changes
            self.recorder.state({LEARNT: engine.learnt()})

    async def close(self, deadline_s: float, end: RunEnd | None = None) -> bool:
        """Commit what is left, with how the run ended; False where that took longer."""
        self.recorder.close()
        if self._timer is not None:
            self._timer.cancel()
        self._keep()
        if end is not None:
            self._committer.note(Notes(ended=end.state, states=end.states()))
        return await self._committer.stop(deadline_s)

    def notes(self) -> list[str]:
        """Return what a person should know of it at the end of the run."""
        return [*self._recalled.notes, *self.recalling.notes()]


def to_resume(run_id: str | None, journal: object) -> str | None:
    """Return the run to go on with; ValueError where there is one and no journal to find it in."""
    if run_id is not None and not journal:
        raise ValueError(f"there is no journal to find the run {run_id!r} in: name one, such as journal='sqlite'")
    return run_id


def opening(run: RunInfo, settings: Settings, host: PluginHost, *, resume: bool) -> RunOpening:
    """Return what is recorded of this process as it begins a run, or goes on with one; no secrets of its settings."""
    return RunOpening(
        run_id=run.run_id,
        at=datetime.now(UTC).timestamp() if resume else run.started.timestamp(),
        resume=resume,
        name=run.name,
        host=socket.gethostname(),
        pid=os.getpid(),
        command=list(sys.orig_argv),
        versions=versions_of(host),
        settings=without_secrets(settings.model_dump(mode="json")),
    )


_CLOSE_S = 5.0
