"""Sinks that break one promise each; they keep what they are told in memory."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from longshore.catalogue import CATALOGUE
from longshore.events import AnyEvent
from longshore.hookspecs import hookimpl
from longshore.records import RunInfo, RunSummary
from longshore.testing import RecordingSink, SinkConformance
from mutants._spreading import spreading


class Suite(SinkConformance):
    """With little patience."""

    patience_s = 1.0


SUITE: Final = Suite


class GoodSink(RecordingSink):
    """Begins anew with each run, wants all that is in the catalogue, and could steer."""

    event_types: Any = frozenset(CATALOGUE)
    controls: Any = True

    @hookimpl
    def open(self, run: RunInfo) -> None:
        super().open(run)


GOOD: Final = GoodSink


class OfAll(GoodSink):
    """Wants events of every type, whatever it is called."""

    event_types = None


class Unmarked(GoodSink):
    """its `close` is not marked with @hookimpl"""

    def close(self, summary: RunSummary) -> None:
        super().close(summary)


class OfTheFuture(GoodSink):
    """its `api` is one that does not exist yet"""

    api = 99


class Eager(GoodSink):
    """starts its thread when it is made"""

    def __init__(self) -> None:
        super().__init__()
        threading.Thread(target=threading.Event().wait, args=(1.0,), daemon=True).start()


class Misspelt(GoodSink):
    """wants events of a type that is never told"""

    event_types = frozenset({"task_finished"})


class Vague(GoodSink):
    """says by a text whether it steers"""

    controls = "yes"


class Ruled(GoodSink):
    """gives a dict for its span rules"""

    span_rules: Any = {"ratio": 1.0}  # noqa: RUF012 - as somebody would write it


class Deaf(GoodSink):
    """waits for what never comes once a task has failed"""

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        super().on_events(batch)
        if any(event.type == "task_failed" for event in batch):
            threading.Event().wait()


class Hasty(GoodSink):
    """takes the last event for the end of the run, which may have had none"""

    @hookimpl
    def close(self, summary: RunSummary) -> None:
        self.last = self.events[-1]
        super().close(summary)


class Sure(GoodSink):
    """knows no end of a run but that all went well"""

    @hookimpl
    def close(self, summary: RunSummary) -> None:
        if summary.state != "completed":
            raise ValueError(f"no such state: {summary.state}")
        super().close(summary)


class Literal(GoodSink):
    """writes the run's name as strict UTF-8"""

    @hookimpl
    def open(self, run: RunInfo) -> None:
        run.name.encode("utf-8")
        super().open(run)


class Finite(GoodSink):
    """is opened once and never again"""

    @hookimpl
    def open(self, run: RunInfo) -> None:
        if self.summary is not None:
            raise RuntimeError("it is closed")
        super().open(run)


class Single(GoodSink):
    """has one buffer for all of its class, which any of them shuts"""

    buffer: list[Any] | None = None

    @hookimpl
    def open(self, run: RunInfo) -> None:
        type(self).buffer = []
        super().open(run)

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        if self.buffer is None:
            raise ValueError("write to a closed buffer")
        super().on_events(batch)

    @hookimpl
    def close(self, summary: RunSummary) -> None:
        type(self).buffer = None
        super().close(summary)


class Exact(GoodSink):
    """rounds the time that a stage took, which a skipped one does not have"""

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        for event in batch:
            if event.type == "stage_completed":
                round(event.data["duration_s"])
        super().on_events(batch)


class Closed(OfAll):
    """knows the types of today and refuses others"""

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        for event in batch:
            CATALOGUE[event.type]
        super().on_events(batch)


class Strict(GoodSink):
    """takes only the fields of today"""

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        for event in batch:
            CATALOGUE[event.type](**event.data)
        super().on_events(batch)


class Encoding(GoodSink):
    """encodes what tasks say of themselves as strict UTF-8"""

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        for event in batch:
            str(event.data.get("message")).encode("utf-8")
        super().on_events(batch)


class Small(GoodSink):
    """takes a hundred events at once, and no more"""

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        if len(batch) > 100:
            raise ValueError("the message is too large")
        super().on_events(batch)


class Orderly(GoodSink):
    """knows only tasks whose start it was told of"""

    def __init__(self) -> None:
        super().__init__()
        self.running: set[str] = set()

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        for event in batch:
            if event.type == "task_started":
                self.running.add(event.data["task_id"])
            elif event.type in ("task_completed", "task_failed"):
                self.running.remove(event.data["task_id"])
        super().on_events(batch)


class Listed(GoodSink):
    """adds the batch to a list as if it were one itself"""

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        kept: list[AnyEvent] = []
        kept = kept + batch  # type: ignore[operator]  # that is what is wrong with it
        super().on_events(kept)


class Draining(GoodSink):
    """takes the events out of the batch"""

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        super().on_events(batch)
        if isinstance(batch, list):
            batch.clear()


class Looking(GoodSink):
    """needs a snapshot for each batch"""

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        super().on_events(batch)
        assert self.run is not None
        self.run.snapshot()


class Choosy(GoodSink):
    """knows two ways to show a run, and raises for others"""

    @hookimpl
    def open(self, run: RunInfo) -> None:
        {"auto": 1, "lines": 2}[run.view]
        super().open(run)


class Screaming(GoodSink):
    """writes to standard error as if there always were one"""

    @hookimpl
    def open(self, run: RunInfo) -> None:
        sys.stderr.write(f"run {run.run_id}\n")
        super().open(run)


class Steering(GoodSink):
    """steers as if it always could"""

    @hookimpl
    def open(self, run: RunInfo) -> None:
        control: Any = run.control
        control.resize  # noqa: B018 - AttributeError for None
        super().open(run)


class Pausing(GoodSink):
    """pauses the run when a task has failed"""

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        super().on_events(batch)
        assert self.run is not None
        if self.run.control is not None and any(event.type == "task_failed" for event in batch):
            self.run.control.pause()


class Lingering(GoodSink):
    """looks at the run once more when it is over"""

    @hookimpl
    def close(self, summary: RunSummary) -> None:
        super().close(summary)
        assert self.run is not None
        threading.Timer(0.05, self.run.snapshot).start()


class Threaded(GoodSink):
    """leaves the thread of each run behind"""

    @hookimpl
    def open(self, run: RunInfo) -> None:
        super().open(run)
        threading.Thread(target=threading.Event().wait, args=(5.0,), name="drawing", daemon=True).start()


class Leaky(GoodSink):
    """leaves the file of each run open"""

    @hookimpl
    def open(self, run: RunInfo) -> None:
        super().open(run)
        os.open(os.devnull, os.O_RDONLY)


class Capturing(GoodSink):
    """takes standard error, and keeps it"""

    @hookimpl
    def open(self, run: RunInfo) -> None:
        super().open(run)
        sys.stderr = io.TextIOWrapper(io.BytesIO())


class Chatty(GoodSink):
    """prints how the run ended"""

    @hookimpl
    def close(self, summary: RunSummary) -> None:
        super().close(summary)
        print(summary.state)


MUTANTS: Mapping[str, Callable[..., Any]] = {
    "test_has_the_methods_of_its_kind": Unmarked,
    "test_speaks_a_version_of_the_contracts": OfTheFuture,
    "test_takes_nothing_when_it_is_made": Eager,
    "test_the_events_it_wants_are_in_the_catalogue": Misspelt,
    "test_it_says_plainly_whether_it_steers": Vague,
    "test_its_span_rules_are_a_record": Ruled,
    "test_a_run_is_told_from_its_beginning_to_its_end": Deaf,
    "test_a_run_without_an_event_can_be_closed": Hasty,
    "test_every_end_of_a_run_is_taken": Sure,
    "test_a_run_of_any_name_is_taken": Literal,
    "test_a_second_run_can_be_told": Finite,
    "test_two_sinks_do_not_disturb_each_other": Single,
    "test_every_type_of_event_is_taken": Exact,
    "test_an_event_of_an_unknown_type_is_taken": Closed,
    "test_a_field_of_a_later_version_is_taken": Strict,
    "test_texts_of_any_kind_are_taken": Encoding,
    "test_a_large_batch_is_taken": Small,
    "test_gaps_and_strangers_are_taken": Orderly,
    "test_any_sequence_is_a_batch": Listed,
    "test_a_batch_is_left_as_it_is": Draining,
    "test_what_a_run_cannot_tell_costs_nothing": Looking,
    "test_every_wish_of_how_to_show_a_run_is_taken": Choosy,
    "test_it_does_without_standard_streams": Screaming,
    "test_it_does_without_control": Steering,
    "test_it_steers_nothing_by_itself": Pausing,
    "test_it_asks_for_nothing_once_it_is_closed": Lingering,
    "test_a_run_leaves_no_thread": Threaded,
    "test_a_run_leaves_nothing_open": Leaky,
    "test_a_run_gives_back_what_it_took": [Capturing, *spreading(GoodSink, "open")],
    "test_standard_output_is_left_alone": Chatty,
}
