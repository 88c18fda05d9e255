"""What every processor keeps: inherit from `ProcessorConformance`, say how one is made, and run pytest."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from longshore._objects import is_url
from longshore.hookspecs import Processor
from longshore.processor import ProcessorContext, ProcessorResult
from longshore.task import CircuitBreaker, Priority
from longshore.testing.conformance._aside import Aside
from longshore.testing.conformance._common import Common, CommonConformance
from longshore.testing.conformance._held import Held
from longshore.testing.conformance._plugin import MakePlugin
from longshore.testing.conformance._working import (
    Contexts,
    Working,
    assert_ended,
    assert_failed,
    assert_json,
    is_count,
    is_number,
    needed,
    travelled,
)

MakeProcessor = Callable[[], Processor]
Result = tuple[ProcessorContext, ProcessorResult]
NO_GOOD = "good_contexts is empty: give documents that it can process"
NO_BAD = "bad_contexts is empty: give documents that it cannot process"


class ProcessorConformance(CommonConformance):
    """The contract of `longshore.hookspecs.Processor`, as tests; a subclass has the fixture `make_processor`.

    It may have the fixtures `good_contexts` and `bad_contexts` as well: documents that it can process, and that it
    cannot. What needs some is skipped where there are none.
    """

    kind = "processors"
    repeats: bool = True
    """Whether the same document gives the same data each time; False for work that depends on more than its input."""

    @pytest.fixture
    def make_processor(self) -> MakeProcessor:
        """Return what makes a fresh processor each time it is called; to be had from the subclass."""
        raise NotImplementedError("the class that inherits ProcessorConformance needs a fixture make_processor")

    @pytest.fixture
    def make_plugin(self, make_processor: MakeProcessor) -> MakePlugin:
        """Return the same, for what every plugin keeps."""
        return make_processor

    @pytest.fixture
    def good_contexts(self) -> Contexts:
        """Return documents that it can process; none unless the subclass has some."""
        return ()

    @pytest.fixture
    def bad_contexts(self) -> Contexts:
        """Return documents that it cannot process; none unless the subclass has some."""
        return ()

    # ---- what it says of itself

    def test_its_metadata_stay_the_same(self, make_processor: MakeProcessor) -> None:
        """`metadata` can be read before `initialize`, and is the same ever after, and of every instance."""
        processor = make_processor()
        before = copy.deepcopy(processor.metadata)
        with self.working(processor) as working:
            working.initialize()
            during = copy.deepcopy(processor.metadata)
            working.cleanup()
        later = (during, processor.metadata, make_processor().metadata)
        assert all(one == before for one in later), f"Processor.metadata was {before}, and then {later}"

    def test_its_name_and_version_are_words(self, make_processor: MakeProcessor) -> None:
        """`name` and `version` are there, on one line and without blanks: runs are resumed and compared by them."""
        metadata = make_processor().metadata
        for field in ("name", "version"):
            word = getattr(metadata, field)
            sound = isinstance(word, str) and word.isprintable() and word.split() == [word]
            assert sound, f"ProcessorMetadata.{field} is {word!r}: a word is due"

    def test_its_formats_can_be_met(self, make_processor: MakeProcessor) -> None:
        """`formats` is a list of suffixes without the dot, or MIME types, in lower case; of others no file ever is."""
        formats: Any = make_processor().metadata.formats  # Any: a plugin may give anything
        assert not isinstance(formats, str), f"ProcessorMetadata.formats is the text {formats!r}: a list is due"
        wrong = [form for form in formats if not (isinstance(form, str) and form.strip(" .") == form.lower() and form)]
        assert not wrong, f"ProcessorMetadata.formats has {wrong}: write 'pdf' or 'application/pdf', in lower case"

    def test_its_numbers_can_be_kept_to(self, make_processor: MakeProcessor) -> None:
        """Times, counts and sizes of the metadata are ones that a pool can keep to."""
        metadata = make_processor().metadata
        most_mb = metadata.max_file_size_mb
        sound = {
            "timeout_seconds": is_number(metadata.timeout_seconds) and metadata.timeout_seconds > 0,
            "retry_count": is_count(metadata.retry_count) and metadata.retry_count >= 0,
            "concurrent_limit": is_count(metadata.concurrent_limit) and metadata.concurrent_limit >= 1,
            "memory_mb": is_number(metadata.memory_mb) and metadata.memory_mb >= 0,
            "max_file_size_mb": most_mb is None or (is_number(most_mb) and most_mb > 0),
        }
        wrong = {name: getattr(metadata, name) for name, fits in sound.items() if not fits}
        assert not wrong, f"ProcessorMetadata has numbers that nobody can keep to: {wrong}"

    def test_its_other_fields_have_their_types(self, make_processor: MakeProcessor) -> None:
        """`executor` is a name or None, `priority` a Priority, `breaker` a CircuitBreaker or None, a flag is a bool."""
        metadata: Any = make_processor().metadata  # Any: a plugin may give anything
        flags = ("is_cpu_intensive", "is_io_intensive", "requires_gpu")
        sound = {
            "executor": metadata.executor != "" and isinstance(metadata.executor, str | None),
            "priority": isinstance(metadata.priority, Priority),
            "breaker": metadata.breaker is None or isinstance(metadata.breaker, CircuitBreaker),
            **{flag: isinstance(getattr(metadata, flag), bool) for flag in flags},
        }
        wrong = {name: getattr(metadata, name) for name, fits in sound.items() if not fits}
        assert not wrong, f"ProcessorMetadata has fields of another type than the contract says: {wrong}"

    def test_its_metadata_travel(self, make_processor: MakeProcessor) -> None:
        """`metadata` can be pickled, and are the same after it."""
        metadata = make_processor().metadata
        came = travelled(metadata, "Processor.metadata")
        assert came == metadata, f"Processor.metadata is {metadata} here and {came} in another process"

    def test_a_worker_can_import_its_class(self, make_processor: MakeProcessor) -> None:
        """Workers make their own processor, so its class is found by its name in its module."""
        kind = type(make_processor())
        came = travelled(kind, f"the class {kind.__qualname__}")
        assert came is kind, f"{kind.__module__}.{kind.__qualname__} is another class than the one that was made"

    # ---- a life in a worker

    def test_it_is_well_once_it_is_ready(self, make_processor: MakeProcessor) -> None:
        """`health_check` says True after `initialize`, in a bool, however often it is asked."""
        with self.working(make_processor()) as working:
            working.initialize()
            said = [working.health(), working.health()]
            working.cleanup()
        assert said == [True, True], (
            f"Processor.health_check said {said} after initialize: it is to work where these tests are run"
        )
        assert all(isinstance(answer, bool) for answer in said), f"Processor.health_check said {said}: a bool is due"

    def test_it_may_be_cleaned_up_twice(self, make_processor: MakeProcessor) -> None:
        """A second `cleanup` does nothing: there is nothing left to let go of."""
        with self.working(make_processor()) as working:
            working.initialize()
            working.cleanup()
            working.cleanup()

    def test_it_may_be_cleaned_up_without_having_been_ready(self, make_processor: MakeProcessor) -> None:
        """`cleanup` of one that was never initialised does nothing."""
        with self.working(make_processor()) as working:
            working.cleanup()

    def test_a_life_leaves_no_thread(self, make_processor: MakeProcessor, good_contexts: Contexts) -> None:
        """Threads that it starts have ended after `cleanup`."""
        left = self._left(make_processor, good_contexts).new_threads(self.patience_s)
        assert not left, f"after Processor.cleanup these threads still run: {left}"

    def test_a_life_leaves_nothing_open(self, make_processor: MakeProcessor, good_contexts: Contexts) -> None:
        """Files and sockets that it opens are shut after `cleanup`."""
        before = self._left(make_processor, good_contexts)
        if before.files is None:
            pytest.skip("this system does not list the files that a process has open")
        left = before.new_files(self.patience_s)
        assert not left, f"after Processor.cleanup these are still open: {left}"

    def test_a_life_changes_nothing_for_others(self, make_processor: MakeProcessor, good_contexts: Contexts) -> None:
        """Working folder, environment, streams, hooks and log handlers are shared by all workers that are threads."""
        before = Common.now()
        self._one_life(make_processor, good_contexts)
        changed = self._changed_since(before)
        assert not changed, f"the processor changed {changed}, which all in this process have in common"

    # ---- documents

    def test_good_documents_are_processed(self, make_processor: MakeProcessor, good_contexts: Contexts) -> None:
        """Each of the good documents gives a ProcessorResult of the status "completed", without errors."""
        for context, result in self._results(make_processor, good_contexts):
            assert not result.errors, f"{context.document_id!r} is completed, and yet has errors: {list(result.errors)}"

    def test_results_are_json(self, make_processor: MakeProcessor, good_contexts: Contexts) -> None:
        """`data` and `metadata` of a result are JSON, whose objects have texts as keys: files of results hold them."""
        for context, result in self._results(make_processor, good_contexts):
            for field in ("data", "metadata"):
                assert_json(getattr(result, field), f"ProcessorResult.{field} of {context.document_id!r}")

    def test_results_travel(self, make_processor: MakeProcessor, good_contexts: Contexts) -> None:
        """A result can be pickled, and is the same after it: it comes from another process."""
        for context, result in self._results(make_processor, good_contexts):
            came = travelled(result, f"the result of {context.document_id!r}")
            assert came == result, f"the result of {context.document_id!r} is {came!r} in another process"

    def test_the_same_document_gives_the_same_data(
        self, make_processor: MakeProcessor, good_contexts: Contexts
    ) -> None:
        """A document that is tried again gives the same `data`, in this worker and in another."""
        if not self.repeats:
            pytest.skip("repeats is False: its results depend on more than the document")
        first, again = (self._results(make_processor, [*good_contexts, *good_contexts]) for _ in range(2))
        count = len(good_contexts)
        for number, context in enumerate(good_contexts):
            data = [life[place][1].data for life in (first, again) for place in (number, number + count)]
            same = all(one == data[0] for one in data)
            assert same, f"{context.document_id!r} gives other data each time: {[repr(one)[:200] for one in data]}"

    def test_an_older_result_stays_as_it_was(self, make_processor: MakeProcessor, good_contexts: Contexts) -> None:
        """A result is the caller's once it is given: the next document changes nothing in it."""
        needed(good_contexts, NO_GOOD)
        with self.ready(make_processor) as working:
            for context, later in zip(good_contexts, [*good_contexts[1:], good_contexts[0]], strict=True):
                result = working.processed(context)
                kept = copy.deepcopy(result)
                working.processed(later)
                assert result == kept, f"the result of {context.document_id!r} changed with the next document"

    def test_a_context_is_left_as_it_is(self, make_processor: MakeProcessor, good_contexts: Contexts) -> None:
        """What a processor is given is shared with the stages beside it: it is read only."""
        needed(good_contexts, NO_GOOD)
        given = copy.deepcopy(list(good_contexts))
        self._results(make_processor, given)
        assert given == list(good_contexts), "Processor.process changed the ProcessorContext that it was given"

    # ---- documents that will not do

    def test_bad_documents_fail_with_a_reason(self, make_processor: MakeProcessor, bad_contexts: Contexts) -> None:
        """A document that it cannot process ends in status "failed" with errors, or in an Exception with a message."""
        needed(bad_contexts, NO_BAD)
        with self.ready(make_processor) as working:
            for context in bad_contexts:
                assert_failed(context, working.ended(context))

    def test_a_bad_document_costs_the_next_one_nothing(
        self, make_processor: MakeProcessor, good_contexts: Contexts, bad_contexts: Contexts
    ) -> None:
        """After a document that failed, the others give what they gave before."""
        needed(good_contexts, NO_GOOD)
        needed(bad_contexts, NO_BAD)
        with self.ready(make_processor) as working:
            before = working.processed(good_contexts[0]).data
            for context in bad_contexts:
                working.ended(context)
            after = working.processed(good_contexts[0]).data
        assert after == before or not self.repeats, f"{good_contexts[0].document_id!r} gives other data after a failure"

    def test_a_document_of_nothing_but_an_id_ends(self, make_processor: MakeProcessor) -> None:
        """A context may have nothing but `document_id`: it is processed, or fails as any document that will not do."""
        context = ProcessorContext(document_id="there-is-no-such-document")
        with self.ready(make_processor) as working:
            assert_ended(context, working.ended(context))

    def test_a_missing_file_fails_with_a_reason(
        self, make_processor: MakeProcessor, good_contexts: Contexts, tmp_path: Path
    ) -> None:
        """A file that is gone by the time its turn comes fails like any document that will not do."""
        for context in self._moved(good_contexts, tmp_path):
            with self.ready(make_processor) as working:
                assert_failed(context, working.ended(context))

    def test_an_empty_file_ends(self, make_processor: MakeProcessor, good_contexts: Contexts, tmp_path: Path) -> None:
        """A file without a byte is processed, or fails like any document that will not do."""
        for context in self._moved(good_contexts, tmp_path):
            Path(str(context.file_path)).touch()
            with self.ready(make_processor) as working:
                assert_ended(context, working.ended(context))

    # ---- looking at documents ahead

    def test_good_documents_are_not_refused_ahead(self, make_processor: MakeProcessor, good_contexts: Contexts) -> None:
        """`validate_input`, where there is one, is None for a good document, of a processor that is not initialised."""
        needed(good_contexts, NO_GOOD)
        with self.working(make_processor()) as working:
            for context in good_contexts:
                said = working.refusal(context)
                assert said is None, f"Processor.validate_input refuses {context.document_id!r}: {said!r}"

    def test_a_document_is_refused_ahead_in_words(self, make_processor: MakeProcessor, bad_contexts: Contexts) -> None:
        """`validate_input`, where there is one, gives a reason in words or None, or raises an Exception."""
        needed(bad_contexts, NO_BAD)
        with self.working(make_processor()) as working:
            for context in bad_contexts:
                said = working.refusal(context)
                sound = said is None or isinstance(said, str | Exception)
                assert sound, f"Processor.validate_input said {said!r} of {context.document_id!r}: a str or None is due"

    # ---- more than one

    def test_two_processors_do_not_disturb_each_other(
        self, make_processor: MakeProcessor, good_contexts: Contexts
    ) -> None:
        """Each worker has its own: one that is cleaned up takes nothing from another."""
        with self.ready(make_processor) as working:
            with self.ready(make_processor) as other:
                other.health()
            assert working.health() is True, "once another processor of its class was cleaned up, this one is unwell"
            for context in good_contexts:
                working.processed(context)

    # ---- what the tests share

    @contextmanager
    def working(self, processor: Processor) -> Iterator[Working]:
        """Give a processor in a worker: its thread, and the loop its coroutines run on; nothing of it is called."""
        with Aside(self.patience_s) as aside:
            runner = asyncio.Runner()
            try:
                yield Working(processor, aside, runner)
            finally:
                aside.done("closing the worker's loop", runner.close)

    @contextmanager
    def ready(self, make_processor: MakeProcessor) -> Iterator[Working]:
        """Give a fresh one that is initialised, and cleaned up at the end."""
        with self.working(make_processor()) as working:
            working.initialize()
            yield working
            working.cleanup()

    def _results(self, make_processor: MakeProcessor, contexts: Contexts) -> list[Result]:
        """Return each context and its result, all of one processor."""
        needed(contexts, NO_GOOD)
        with self.ready(make_processor) as working:
            return [(context, working.processed(context)) for context in contexts]

    def _moved(self, contexts: Contexts, folder: Path) -> Contexts:
        """Return one context for each suffix among these, of a file in an empty folder that is not there."""
        needed(contexts, NO_GOOD)
        files = {Path(one.file_path).suffix: one for one in contexts if one.file_path and not is_url(one.file_path)}
        needed(list(files.values()), "none of good_contexts has a file_path on this machine")
        return [replace(one, file_path=str(folder / f"gone{suffix}")) for suffix, one in files.items()]

    def _left(self, make_processor: MakeProcessor, contexts: Contexts) -> Held:
        """Return what was held after a first life, once another has processed the same documents."""
        self._one_life(make_processor, contexts)
        before = Held.now()
        self._one_life(make_processor, contexts)
        return before

    def _one_life(self, make_processor: MakeProcessor, contexts: Contexts) -> None:
        with self.ready(make_processor) as working:
            for context in contexts:
                working.processed(context)


__all__ = ["NO_BAD", "NO_GOOD", "MakeProcessor", "ProcessorConformance", "Result"]
