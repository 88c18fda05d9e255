"""Processors that break one promise each; they count the words of a text file."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
from longshore.hookspecs import hookimpl
from longshore.processor import ProcessorContext, ProcessorMetadata, ProcessorResult
from longshore.testing import ProcessorConformance
from msgspec.structs import force_setattr, replace
from mutants._spreading import spreading

METADATA: Final = ProcessorMetadata(name="words", version="1.0", formats=["txt", "text/plain"])


class Suite(ProcessorConformance):
    """With little patience, and texts."""

    patience_s = 1.0

    @pytest.fixture
    def good_contexts(self, tmp_path: Path) -> Sequence[ProcessorContext]:
        return [text(tmp_path / "a.txt", b"one"), text(tmp_path / "b.txt", b"two words")]

    @pytest.fixture
    def bad_contexts(self, tmp_path: Path) -> Sequence[ProcessorContext]:
        return [text(tmp_path / "c.txt", b"\xff\xfe\xff")]


SUITE: Final = Suite


def text(path: Path, data: bytes) -> ProcessorContext:
    path.write_bytes(data)
    return ProcessorContext(document_id=path.name, file_path=str(path))


class GoodProcessor:
    """Counts."""

    api = 1

    @property
    def metadata(self) -> ProcessorMetadata:
        return METADATA

    @hookimpl
    def initialize(self) -> None: ...

    @hookimpl
    def process(self, context: ProcessorContext) -> ProcessorResult:
        return self.result(self.words(context))

    @hookimpl
    def cleanup(self) -> None: ...

    @hookimpl
    def health_check(self) -> bool:
        return True

    @hookimpl
    def validate_input(self, context: ProcessorContext) -> str | None:
        return "it has no file" if context.file_path is None else None

    def words(self, context: ProcessorContext) -> list[str]:
        return Path(str(context.file_path)).read_text("utf-8").split()

    def result(self, words: list[str]) -> ProcessorResult:
        return ProcessorResult(data={"words": len(words), "first": words[:1]})


GOOD: Final = GoodProcessor


def saying(wrong: str, **fields: Any) -> type[GoodProcessor]:
    """Return a processor of other metadata, and say what is wrong with them."""
    metadata = property(lambda self: replace(METADATA, **fields))
    return type("Saying", (GoodProcessor,), {"metadata": metadata, "__doc__": wrong})


class Unmarked(GoodProcessor):
    """its `cleanup` is not marked with @hookimpl"""

    def cleanup(self) -> None: ...


class OfTheFuture(GoodProcessor):
    """its `api` is one that does not exist yet"""

    api = 99


class Eager(GoodProcessor):
    """opens a file when it is made"""

    def __init__(self) -> None:
        os.open(os.devnull, os.O_RDONLY)


class Late(GoodProcessor):
    """knows its formats only once it is initialised"""

    formats: Sequence[str] = ()

    @property
    def metadata(self) -> ProcessorMetadata:
        return replace(METADATA, formats=self.formats)

    @hookimpl
    def initialize(self) -> None:
        self.formats = ["txt"]


class Bound(GoodProcessor):
    """has something in its metadata that cannot be pickled"""

    @property
    def metadata(self) -> ProcessorMetadata:
        return replace(METADATA, name=_Name("words"))


class _Name(str):
    __slots__ = ("lock",)

    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle '_thread.lock' object")


def local() -> GoodProcessor:
    """its class stands in a function, where no worker finds it"""

    class Local(GoodProcessor):
        """Counts."""

    return Local()


class Unwell(GoodProcessor):
    """says of its health in words"""

    @hookimpl
    def health_check(self) -> Any:
        return "ok"


class Holding(GoodProcessor):
    """lets go at its second cleanup of what it no longer has"""

    model: Any = None

    @hookimpl
    def initialize(self) -> None:
        self.model = ["loaded"]

    @hookimpl
    def cleanup(self) -> None:
        if self.model is not None:
            self.model.pop()


class Presuming(GoodProcessor):
    """takes for granted that it was initialised before it is cleaned up"""

    @hookimpl
    def initialize(self) -> None:
        self.model = ["loaded"]

    @hookimpl
    def cleanup(self) -> None:
        self.model.clear()


class Threaded(GoodProcessor):
    """leaves a thread behind"""

    @hookimpl
    def initialize(self) -> None:
        threading.Thread(target=threading.Event().wait, args=(5.0,), name="reader", daemon=True).start()


class Leaky(GoodProcessor):
    """leaves each document open"""

    def words(self, context: ProcessorContext) -> list[str]:
        os.open(str(context.file_path), os.O_RDONLY)
        return super().words(context)


class Spreading(GoodProcessor):
    """says by the environment what it works on"""

    numbers = count()

    @hookimpl
    def initialize(self) -> None:
        os.environ["WORDS_NUMBER"] = str(next(self.numbers))


class Complaining(GoodProcessor):
    """notes an error with each document that it completes"""

    def result(self, words: list[str]) -> ProcessorResult:
        return replace(super().result(words), errors=["there may be more words"])


class Unsafe(GoodProcessor):
    """gives a set, which is no JSON"""

    def result(self, words: list[str]) -> ProcessorResult:
        return ProcessorResult(data={"words": set(words)})


class Staying(GoodProcessor):
    """gives a lock with its result, which stays in this process"""

    def result(self, words: list[str]) -> ProcessorResult:
        return ProcessorResult(data={"words": len(words), "lock": threading.Lock()})


class Counting(GoodProcessor):
    """numbers its documents"""

    numbers = count()

    def result(self, words: list[str]) -> ProcessorResult:
        return ProcessorResult(data={"words": len(words), "number": next(self.numbers)})


class Reusing(GoodProcessor):
    """gives the same dict each time, with the words of the last document"""

    @hookimpl
    def initialize(self) -> None:
        self.data: dict[str, Any] = {}

    def result(self, words: list[str]) -> ProcessorResult:
        self.data["words"] = len(words)
        return ProcessorResult(data=self.data)


class Writing(GoodProcessor):
    """writes into the context that it is given"""

    @hookimpl
    def process(self, context: ProcessorContext) -> ProcessorResult:
        result = super().process(context)
        force_setattr(context, "mime_type", "text/plain")
        return result


class Lenient(GoodProcessor):
    """completes what it could not read"""

    def words(self, context: ProcessorContext) -> list[str]:
        try:
            return super().words(context)
        except UnicodeDecodeError:
            return []


class Offended(GoodProcessor):
    """stands still once a document has failed"""

    offended = False

    @hookimpl
    def process(self, context: ProcessorContext) -> ProcessorResult:
        if self.offended:
            raise RuntimeError("the reader is broken")
        self.offended = True
        result = super().process(context)
        self.offended = False
        return result


class Leaving(GoodProcessor):
    """ends the program where a document has no file"""

    @hookimpl
    def process(self, context: ProcessorContext) -> ProcessorResult:
        if context.file_path is None:
            raise SystemExit("usage: words FILE")
        return super().process(context)


class Blind(GoodProcessor):
    """counts no words in a file that is not there"""

    def words(self, context: ProcessorContext) -> list[str]:
        path = Path(str(context.file_path))
        return super().words(context) if path.exists() else []


class Mute(GoodProcessor):
    """fails for a file without a word, and does not say why"""

    def result(self, words: list[str]) -> ProcessorResult:
        return super().result(words) if words else ProcessorResult(status="failed")


class Demanding(GoodProcessor):
    """looks at documents ahead with what `initialize` loads"""

    model: Sequence[str] = ()

    @hookimpl
    def initialize(self) -> None:
        self.model = ["txt"]

    @hookimpl
    def validate_input(self, context: ProcessorContext) -> str | None:
        return None if Path(str(context.file_path)).suffix[1:] in self.model else "not a text"


class Nodding(GoodProcessor):
    """says True of what may be tried"""

    @hookimpl
    def validate_input(self, context: ProcessorContext) -> Any:
        return True if context.document_id == "c.txt" else None


class Single(GoodProcessor):
    """has one model for all of its class, which any of them lets go of"""

    model: Sequence[str] = ()

    @hookimpl
    def initialize(self) -> None:
        type(self).model = ["loaded"]

    @hookimpl
    def cleanup(self) -> None:
        type(self).model = ()

    @hookimpl
    def health_check(self) -> bool:
        return bool(self.model)


MUTANTS: Mapping[str, Callable[..., Any]] = {
    "test_has_the_methods_of_its_kind": Unmarked,
    "test_speaks_a_version_of_the_contracts": OfTheFuture,
    "test_takes_nothing_when_it_is_made": Eager,
    "test_its_metadata_stay_the_same": Late,
    "test_its_name_and_version_are_words": saying("has no version", version=""),
    "test_its_formats_can_be_met": saying("has formats with a dot, in upper case", formats=[".TXT"]),
    "test_its_numbers_can_be_kept_to": saying("gives a document no time at all", timeout_seconds=0.0),
    "test_its_other_fields_have_their_types": saying("has a priority in words", priority="high"),
    "test_its_metadata_travel": Bound,
    "test_a_worker_can_import_its_class": local,
    "test_it_is_well_once_it_is_ready": Unwell,
    "test_it_may_be_cleaned_up_twice": Holding,
    "test_it_may_be_cleaned_up_without_having_been_ready": Presuming,
    "test_a_life_leaves_no_thread": Threaded,
    "test_a_life_leaves_nothing_open": Leaky,
    "test_a_life_changes_nothing_for_others": [Spreading, *spreading(GoodProcessor, "process")],
    "test_good_documents_are_processed": Complaining,
    "test_results_are_json": Unsafe,
    "test_results_travel": Staying,
    "test_the_same_document_gives_the_same_data": Counting,
    "test_an_older_result_stays_as_it_was": Reusing,
    "test_a_context_is_left_as_it_is": Writing,
    "test_bad_documents_fail_with_a_reason": Lenient,
    "test_a_bad_document_costs_the_next_one_nothing": Offended,
    "test_a_document_of_nothing_but_an_id_ends": Leaving,
    "test_a_missing_file_fails_with_a_reason": Blind,
    "test_an_empty_file_ends": Mute,
    "test_good_documents_are_not_refused_ahead": Demanding,
    "test_a_document_is_refused_ahead_in_words": Nodding,
    "test_two_processors_do_not_disturb_each_other": Single,
}
