"""What every sink keeps: inherit from `SinkConformance`, say how one is made, and run pytest."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from longshore.catalogue import CATALOGUE
from longshore.errors import PluginError
from longshore.events import AnyEvent, Event
from longshore.hookspecs import Sink
from longshore.records import RunInfo, RunSnapshot, RunSummary, SpanRules
from longshore.testing.conformance._aside import Aside
from longshore.testing.conformance._common import Common, CommonConformance
from longshore.testing.conformance._held import Held
from longshore.testing.conformance._plugin import MakePlugin
from longshore.testing.conformance._told import AT, HOSTILE, life_of, one_of_each, run_info, snapshot_of, summaries

MakeSink = Callable[[], Sink]
LARGE = 1000
"""Events that a pool tells in one call at most."""
CALLED = ("snapshot", "health", "history", "stats", "workers", "setup", "summary")
"""What of a RunInfo can be called."""


class Told:
    """A sink on its own thread, as a pool has it: opened, told and closed there, one call at a time."""

    def __init__(self, sink: Sink, aside: Aside) -> None:
        """Tell this one."""
        self.sink = sink
        self.rules: SpanRules | None = getattr(sink, "span_rules", None)
        """How it wants spans placed; None where it makes none."""
        self._types = getattr(sink, "event_types", None)
        self._aside = aside

    def open(self, run: RunInfo | None = None) -> None:
        """Begin a run."""
        self._aside.done("Sink.open", self.sink.open, run or run_info(rules=self.rules))

    def try_to_open(self) -> bool:
        """Begin a run, unless an Exception says that there can be no second one."""
        try:
            self._aside.tried("Sink.open", self.sink.open, run_info(rules=self.rules))
        except AssertionError:
            raise
        except Exception:  # noqa: BLE001 - a port, or a device, is one sink's alone, and it may say so in its own way
            return False
        return True

    def wanted(self, events: Sequence[AnyEvent]) -> list[AnyEvent]:
        """Return those of the events that a pool would tell it."""
        return [event for event in events if self._types is None or event.type in self._types]

    def tell(self, events: Sequence[AnyEvent], what: str = "events") -> None:
        """Tell those of the events that it wants; nothing where it wants none of them."""
        if batch := self.wanted(events):
            self.give(batch, what)

    def give(self, batch: Sequence[AnyEvent], what: str = "events") -> None:
        """Tell a batch as it is."""
        self._aside.done(f"Sink.on_events, given {what},", self.sink.on_events, batch)

    def close(self, summary: RunSummary | None = None, what: str = "a run that went well") -> None:
        """End the run; a PluginError is how a sink says what it could not pass on."""
        end = summary or summaries()["all went well"]
        with suppress(PluginError):
            self._aside.done(f"Sink.close, after {what},", self.sink.close, end, allowed=(PluginError,))


class _Control:
    """What a sink may do to a run, and what it did."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def cancel(self, task_id: str) -> None:
        self.asked.append(f"cancel {task_id}")

    def pause(self) -> None:
        self.asked.append("pause")

    def unpause(self) -> None:
        self.asked.append("unpause")

    def resize(self, executor: str, workers: int) -> None:
        self.asked.append(f"resize {executor} to {workers}")


class SinkConformance(CommonConformance):
    """The contract of `longshore.hookspecs.Sink`, as tests; a subclass has the fixture `make_sink`."""

    kind = "sinks"
    prints: bool = False
    """Whether it may write to standard output: only a sink that is made for that."""

    @pytest.fixture
    def make_sink(self) -> MakeSink:
        """Return what makes a fresh sink each time it is called; to be had from the subclass."""
        raise NotImplementedError("the class that inherits SinkConformance needs a fixture make_sink")

    @pytest.fixture
    def make_plugin(self, make_sink: MakeSink) -> MakePlugin:
        """Return the same, for what every plugin keeps."""
        return make_sink

    # ---- what it says of itself

    def test_the_events_it_wants_are_in_the_catalogue(self, make_sink: MakeSink) -> None:
        """`event_types`, where there is one, is a set of names of the catalogue: of others nothing would ever come."""
        types = getattr(make_sink(), "event_types", None)
        if types is None:
            pytest.skip("it has no event_types, and so is told of every event")
        assert isinstance(types, set | frozenset | tuple | list), (
            f"Sink.event_types is {types!r}, and is to be a set of names"
        )
        unknown = sorted(map(str, set(types) - set(CATALOGUE)))
        assert not unknown, f"Sink.event_types has {unknown}, of which longshore.CATALOGUE knows nothing"

    def test_it_says_plainly_whether_it_steers(self, make_sink: MakeSink) -> None:
        """`controls`, where there is one, is True or False: anything else counts as False."""
        controls = getattr(make_sink(), "controls", False)
        assert isinstance(controls, bool), f"Sink.controls is {controls!r}: only True gets a RunInfo.control"

    def test_its_span_rules_are_a_record(self, make_sink: MakeSink) -> None:
        """`span_rules`, where there are some, are SpanRules, or None where no spans are made."""
        rules = getattr(make_sink(), "span_rules", None)
        assert rules is None or isinstance(rules, SpanRules), f"Sink.span_rules is {rules!r}, not a SpanRules"

    # ---- a run

    def test_a_run_is_told_from_its_beginning_to_its_end(self, make_sink: MakeSink) -> None:
        """`open`, `on_events` and `close` return on a thread that is not the main one, and none of them hangs."""
        with self.telling(make_sink()) as told:
            told.open()
            for number, end in enumerate(("completed", "failed", "timed_out", "cancelled")):
                told.tell(life_of(number, end), f"the events of a task that ended as {end}")
            told.close()

    def test_a_run_without_an_event_can_be_closed(self, make_sink: MakeSink) -> None:
        """A run that does not come about is closed right after it was opened."""
        with self.telling(make_sink()) as told:
            told.open()
            told.close(summaries()["never started"], "a run of which nothing was told")

    def test_every_end_of_a_run_is_taken(self, make_sink: MakeSink) -> None:
        """`close` takes every summary: of a run that was stopped, that failed, with notes, with texts of any kind."""
        for what, summary in summaries().items():
            with self.telling(make_sink()) as told:
                told.open()
                told.tell(life_of(1))
                told.close(summary, f"a run of which is said: {what}")

    def test_a_run_of_any_name_is_taken(self, make_sink: MakeSink) -> None:
        """A run is named by its user: spaces, other scripts, control characters and halves of characters are names."""
        for name in HOSTILE:
            with self.telling(make_sink()) as told:
                told.open(run_info(partial(snapshot_of, name), name=name, rules=told.rules))
                told.tell(life_of(1, name=name), f"a task and a run of the name {name[:40]!r}")
                told.close(what=f"a run of the name {name[:40]!r}")

    def test_a_second_run_can_be_told(self, make_sink: MakeSink) -> None:
        """A sink that was given to a pool is opened again when that pool is started again."""
        with self.telling(make_sink()) as told:
            for _ in range(2):
                told.open()
                told.tell(life_of(1))
                told.close()

    def test_two_sinks_do_not_disturb_each_other(self, make_sink: MakeSink) -> None:
        """Two pools of one process each have a sink of this class; the second may be refused, and the first goes on."""
        with self.telling(make_sink()) as one, self.telling(make_sink()) as other:
            one.open()
            if other.try_to_open():
                other.close()
            one.tell(life_of(1), "events after another sink of its class was closed")
            one.close()

    # ---- events

    def test_every_type_of_event_is_taken(self, make_sink: MakeSink) -> None:
        """Each type of the catalogue is taken, with all its fields and with none that may be left out."""
        for bare in (False, True):
            with self.telling(make_sink()) as told:
                told.open()
                for event in one_of_each(bare=bare):
                    told.tell([event], f"{event.type} {'without' if bare else 'with'} what may be left out")
                told.tell(one_of_each(bare=bare), "one of each type")
                told.close()

    def test_an_event_of_an_unknown_type_is_taken(self, make_sink: MakeSink) -> None:
        """A later core, or another plugin, tells of more than the catalogue has now: what is unknown is passed over."""
        with self.telling(make_sink()) as told:
            told.open()
            told.tell([Event("acme_crate_lifted", {"crate": 7, "by": None}, 1, AT)], "an event of a type nobody knows")
            told.tell([Event("task_", {}, 2, AT)], "an event without data")
            told.close()

    def test_a_field_of_a_later_version_is_taken(self, make_sink: MakeSink) -> None:
        """Fields may come within a version of the events: what is not known of a known type is passed over."""
        with self.telling(make_sink()) as told:
            told.open()
            for event in one_of_each():
                told.tell(
                    [Event(event.type, {**event.data, "of_tomorrow": 1}, event.seq, AT)],
                    f"{event.type} with a new field",
                )
            told.close()

    def test_texts_of_any_kind_are_taken(self, make_sink: MakeSink) -> None:
        """Keys, names and messages hold what files and exceptions do: no text is too long, and none is malformed."""
        with self.telling(make_sink()) as told:
            told.open(run_info(lambda: snapshot_of(text="".join(HOSTILE)), rules=told.rules))
            for number, text in enumerate(HOSTILE):
                told.tell(life_of(number, "failed", name=text, text=text), f"a task with the texts {text[:40]!r}")
            told.close()

    def test_a_large_batch_is_taken(self, make_sink: MakeSink) -> None:
        """As many events come in one call as a pool has gathered: up to a thousand."""
        batch = [event for number in range(LARGE // 3 + 1) for event in life_of(number)][:LARGE]
        with self.telling(make_sink()) as told:
            told.open()
            for _ in range(3):
                told.tell(batch, f"{LARGE} events at once")
            told.close()

    def test_gaps_and_strangers_are_taken(self, make_sink: MakeSink) -> None:
        """Who is slow is not told all: ends come of tasks that were never heard of, and starts without their end."""
        submitted, started, ended = life_of(1)
        with self.telling(make_sink()) as told:
            told.open()
            told.tell([life_of(9, "failed")[-1]], "the end of a task whose beginning was dropped")
            told.tell([started], "the start of a task whose submission was dropped")
            told.tell([ended, submitted, started, ended], "events of a task out of order")
            told.tell([life_of(5)[1]], "the start of a task that never ends")
            told.close()

    def test_any_sequence_is_a_batch(self, make_sink: MakeSink) -> None:
        """A batch is a Sequence: a tuple is one as well as a list."""
        with self.telling(make_sink()) as told:
            told.open()
            if batch := told.wanted(life_of(1)):
                told.give(tuple(batch), "a tuple of events")
            told.close()

    def test_a_batch_is_left_as_it_is(self, make_sink: MakeSink) -> None:
        """The events of a batch are told to others as well: neither it nor their data are changed."""
        with self.telling(make_sink()) as told:
            batch = told.wanted([*life_of(1, "failed", text="quay"), *one_of_each()])
            kept = list(batch), copy.deepcopy([event.data for event in batch])
            told.open()
            told.give(batch)
            told.close()
        assert batch == kept[0], "Sink.on_events changed the batch that it was given"
        assert [event.data for event in batch] == kept[1], "Sink.on_events changed the data of an event"

    # ---- what a run offers

    def test_what_a_run_cannot_tell_costs_nothing(self, make_sink: MakeSink) -> None:
        """`snapshot` and what else of RunInfo can be called may raise, as of a pool that is just ending: it goes on."""

        def refuse() -> Any:  # Any: it gives nothing
            raise RuntimeError("this cannot be told just now")

        with self.telling(make_sink()) as told:
            mute = replace(run_info(refuse, rules=told.rules), **dict.fromkeys(CALLED, refuse))
            told.open(mute)
            told.tell(life_of(1), "events of a run that tells nothing of itself")
            told.close(what="a run that tells nothing of itself")

    def test_every_wish_of_how_to_show_a_run_is_taken(self, make_sink: MakeSink) -> None:
        """Whatever the command line wishes for in `RunInfo.view`, a sink that shows nothing does as it always does."""
        for view in ("auto", "live", "lines", "json", "none"):
            for interactive in (False, True):
                with self.telling(make_sink()) as told:
                    told.open(replace(run_info(rules=told.rules), view=view, interactive=interactive))
                    told.tell(life_of(1), f"a run whose view is {view!r} and interactive {interactive}")
                    told.close(what=f"a run whose view is {view!r} and interactive {interactive}")

    def test_it_does_without_standard_streams(self, make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process may have neither `sys.stdout` nor `sys.stderr`, as daemons and windowed programs do."""
        for stream in ("stdout", "stderr"):
            monkeypatch.setattr(sys, stream, None)
        with self.telling(make_sink()) as told:
            told.open(replace(run_info(rules=told.rules), interactive=True))
            told.tell([*life_of(1, "failed", text="quay"), *one_of_each()])
            told.close(summaries()["the pool failed"])

    def test_it_does_without_control(self, make_sink: MakeSink) -> None:
        """Also a sink that would steer is opened without `control` where nobody offers one, as for a recorded run."""
        with self.telling(make_sink()) as told:
            told.open(run_info(control=None, rules=told.rules))
            told.close()

    def test_it_steers_nothing_by_itself(self, make_sink: MakeSink) -> None:
        """Where it is given `control`, nothing is paused, resized or cancelled that no person asked for."""
        control = _Control()
        with self.telling(make_sink()) as told:
            told.open(run_info(control=control, rules=told.rules))
            told.tell([*life_of(1), *one_of_each()])
            told.close()
        assert not control.asked, f"the sink steered the run by itself: {control.asked}"

    def test_it_asks_for_nothing_once_it_is_closed(self, make_sink: MakeSink) -> None:
        """`close` is the end: the pool is gone by then, and nobody asks `RunInfo.snapshot` any more."""
        over, late = threading.Event(), list[str]()

        def look() -> RunSnapshot:
            if over.is_set():
                late.append(threading.current_thread().name)
            return snapshot_of()

        before = Held.now()
        with self.telling(make_sink()) as told:
            told.open(run_info(look, rules=told.rules))
            told.tell(life_of(1))
            told.close()
            over.set()
        before.new_threads(self.patience_s)
        assert not late, f"RunInfo.snapshot was asked after Sink.close had returned, on the threads {late}"

    # ---- what is left

    def test_a_run_leaves_no_thread(self, make_sink: MakeSink) -> None:
        """Whatever a run starts has ended when the sink is closed, or ends soon after."""
        left = self._left(make_sink).new_threads(self.patience_s)
        assert not left, f"after Sink.close these threads still run: {left}"

    def test_a_run_leaves_nothing_open(self, make_sink: MakeSink) -> None:
        """Files and sockets that a run opens are shut when the sink is closed."""
        before = self._left(make_sink)
        if before.files is None:
            pytest.skip("this system does not list the files that a process has open")
        left = before.new_files(self.patience_s)
        assert not left, f"after Sink.close these are still open: {left}"

    def test_a_run_gives_back_what_it_took(self, make_sink: MakeSink) -> None:
        """Streams, hooks and log handlers that a run takes are as they were when the sink is closed."""
        before = Common.now()
        self._one_run(make_sink)
        changed = self._changed_since(before)
        assert not changed, f"after Sink.close these are not what they were before Sink.open: {changed}"

    def test_standard_output_is_left_alone(self, make_sink: MakeSink, capfd: pytest.CaptureFixture[str]) -> None:
        """Standard output is for the data of whoever runs the pool; what people are to see goes to standard error."""
        if self.prints:
            pytest.skip("prints is True: it is made to write to standard output")
        with self.telling(make_sink()) as told:
            told.open()
            told.tell([*life_of(1, "failed", text="quay"), *one_of_each()])
            told.close(summaries()["the pool failed"])
        said = capfd.readouterr().out
        assert said == "", f"the sink wrote to standard output: {said[:200]!r}; people look at standard error"

    # ---- what the tests share

    @contextmanager
    def telling(self, sink: Sink) -> Iterator[Told]:
        """Give a sink on a thread of its own."""
        with Aside(self.patience_s) as aside:
            yield Told(sink, aside)

    def _left(self, make_sink: MakeSink) -> Held:
        """Return what was held after a first run, once another has been told."""
        self._one_run(make_sink)
        before = Held.now()
        self._one_run(make_sink)
        return before

    def _one_run(self, make_sink: MakeSink) -> None:
        with self.telling(make_sink()) as told:
            told.open()
            told.tell([*life_of(1), *one_of_each()])
            told.close()


__all__ = ["CALLED", "LARGE", "MakeSink", "SinkConformance", "Told"]
