"""`longshore serve`: a recorded run in the browser, whether it is over or a process still has it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from cyclopts import Parameter
from msgspec.structs import replace

from longshore._setup import recorded_setup
from longshore.cli.console import ExitCode, UsageError, say
from longshore.cli.journals import find_run, open_archive
from longshore.cli.options import JournalPath, RunName, Set
from longshore.hookspecs import Archive, Sink
from longshore.plugins import PluginHost
from longshore.records import RunHistory, RunInfo, RunSnapshot, RunSummary
from longshore.runs import RecordedRun
from longshore.settings import load_settings

_EVERY_S = 1.0
"""How often what is new of a run that goes on is read from its journal."""
_SINK = "dashboard"


def serve(
    run: RunName = "last",
    /,
    *,
    port: Annotated[
        int | None, Parameter(help="The port to listen on: `--port 8080`. Left out: that of the settings, else any.")
    ] = None,
    journal: JournalPath = None,
    set_: Set = (),
) -> int:
    """Show a recorded run in the browser, until Ctrl-C: one that is over, or one that still goes on elsewhere.

    It prints a link that lets one browser in. Nothing of the run is changed, and nobody but you can reach the pages,
    unless `[tool.longshore.sinks.dashboard]` says otherwise.
    For example: `longshore serve last`, `longshore serve 20260102 --port 8080`
    """
    archive, _ = open_archive(journal)
    record = find_run(archive, run)
    sink = _make(set_, port)
    with _ending_on_signals():
        shown = _Shown(archive, record.run_id)
        try:
            sink.open(shown.info())
        except OSError as error:
            raise UsageError(f"the pages of the run cannot be served: {error}") from error
        try:
            _until_interrupted(shown, sink)
        except KeyboardInterrupt:
            say("longshore: the pages are closed")
        finally:
            sink.close(shown.summary() or shown.closing())
    return ExitCode.OK


def _make(overrides: tuple[str, ...], port: int | None) -> Sink:
    """Make the sink; PluginError says what to install, SettingsError what is wrong with its table."""
    settings = load_settings(overrides=overrides).settings
    table: dict[str, Any] = dict(settings.table("sinks", _SINK))  # Any: the sink's own options
    if port is not None:
        table["port"] = port
    sink: Sink = PluginHost(settings.plugins).create("sinks", _SINK, table)
    return sink


def _until_interrupted(shown: _Shown, sink: Sink) -> None:
    """Pass on what is recorded, and what comes to be recorded while somebody has the run."""
    shown.pass_on(sink)
    say(f"longshore: run {shown.run_id} is shown{', as it goes on' if shown.goes_on else ''}; Ctrl-C ends that")
    never = threading.Event()
    while shown.goes_on:
        never.wait(_EVERY_S)
        shown.pass_on(sink)
    never.wait()


class _Shown:
    """A recorded run as the sink may ask for it from any thread, while one thread reads the journal."""

    def __init__(self, archive: Archive, run_id: str) -> None:
        self._recorded = RecordedRun(archive, run_id)
        self.run_id = run_id
        self._first = self._recorded.info()
        self._snapshot = RunSnapshot(run_id=run_id, name=self._first.name, started=self._first.started, elapsed_s=0.0)
        self._history = RunHistory()
        self._summary: RunSummary | None = None

    @property
    def goes_on(self) -> bool:
        """Whether a process has it."""
        return self._recorded.state == "running"

    def info(self) -> RunInfo:
        """Return what the sink is opened with; each of its answers is as of the last reading."""
        record = self._recorded.record
        return replace(
            self._first,
            snapshot=lambda: self._snapshot,
            history=lambda: self._history,
            summary=self.summary,
            setup=lambda: recorded_setup(record.settings, record.versions),
        )

    def summary(self) -> RunSummary | None:
        """Return how it ended, once it has."""
        return self._summary

    def closing(self) -> RunSummary:
        """Return what a sink is closed with while the run goes on."""
        return RunSummary(snapshot=self._snapshot, state="running")

    def pass_on(self, sink: Sink) -> None:
        """Read what is new, and give it to the sink."""
        recorded = self._recorded
        recorded.refresh()  # first: what is recorded until it says that the run is over is all there is
        for batch in recorded.events():
            sink.on_events(batch)
        self._snapshot, self._history = recorded.snapshot(), recorded.history()
        if not self.goes_on:
            self._summary = recorded.summary()


@contextmanager
def _ending_on_signals() -> Iterator[None]:
    """Let SIGTERM end it as Ctrl-C does, so that nothing is left of it."""
    heard = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C also where whoever started this has it ignored, as `run` does
    before = {number: signal.signal(number, signal.default_int_handler) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
