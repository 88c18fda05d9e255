"""Documents of a processor are the same work for as long as its name, version, class and settings are."""

from __future__ import annotations

from functools import partial

import pytest
from longshore._identity import CallIdentity
from longshore._processing import AsyncProcessorCall, ProcessorCall
from longshore.processor import ProcessorContext

DOCUMENT = (ProcessorContext(document_id="a", file_path="a.txt"),)


class Cutter:
    def __init__(self, length: int = 10) -> None:
        self.length = length


class Other:
    pass


def key(call: ProcessorCall) -> bytes | str | None:
    return CallIdentity(call, None).key(DOCUMENT, None)


@pytest.mark.parametrize(
    "other",
    [
        ProcessorCall(Cutter, "slice", release="1"),
        ProcessorCall(Cutter, "cut", release="2"),
        ProcessorCall(Other, "cut", release="1"),
        ProcessorCall(partial(Cutter, 20), "cut", release="1"),
    ],
    ids=["name", "version", "class", "settings"],
)
def test_another_of_these_is_other_work(other: ProcessorCall) -> None:
    """Each of the four makes the same document another piece of work."""
    assert key(other) != key(ProcessorCall(Cutter, "cut", release="1"))


def test_where_it_runs_does_not_count() -> None:
    """A processor that was replaced by its like, or runs elsewhere or without coroutines, does the same work."""
    call = AsyncProcessorCall(Cutter, "cut", 1, executor="asyncio", release="1")
    assert key(call.fitting(False)) == key(ProcessorCall(Cutter, "cut", 2, executor="threads", release="1"))
