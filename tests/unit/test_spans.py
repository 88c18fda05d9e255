"""Which span stands for a task: the same in every process, in the submitter's trace, the run's, or one of its own."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st
from longshore.records import SpanPlace, SpanRules, TaskSpans

PLACES = st.builds(SpanPlace, st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())


def begun(parent: SpanPlace | None = None, **rules: float) -> TaskSpans:
    return TaskSpans.begin(SpanRules(**rules), parent, secrets.token_bytes(24))  # type: ignore[arg-type]


@given(PLACES)
def test_a_traceparent_is_read_as_it_was_written(place: SpanPlace) -> None:
    """Any span is the same after its way as text."""
    assert SpanPlace.read(place.traceparent) == place


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "00",
        "00-1-2",
        "zz-1-2-01",
        f"00-{0:032x}-{1:016x}-01",
        f"00-{1:032x}-{0:016x}-01",
        f"ff-{1:032x}-{1:016x}-01",
    ],
)
def test_what_is_no_traceparent_is_none(text: str | None) -> None:
    """Whatever somebody put there does no harm."""
    assert SpanPlace.read(text) is None


@given(PLACES, st.text(max_size=20))
def test_a_task_is_in_its_submitters_trace(submitter: SpanPlace, task_id: str) -> None:
    """Its trace and whether it is recorded are the submitter's; the span's own id is the task's, each time."""
    spans = begun(ratio=0.5)
    place = spans.of(task_id, submitter)
    assert (place.trace_id, place.sampled) == (submitter.trace_id, submitter.sampled)
    assert place == spans.of(task_id, submitter)
    assert place.span_id == spans.of(task_id).span_id


def test_tasks_of_a_run_have_spans_of_their_own() -> None:
    """No two tasks of a run share a span, nor do two runs, nor a task and its run."""
    runs = [begun(), begun()]
    ids = {run.of(f"x-{number:x}").span_id for run in runs for number in range(500)} | {run.run.span_id for run in runs}
    assert len(ids) == 1002


def test_the_first_tasks_are_in_the_runs_trace() -> None:
    """Those that were submitted first, by whatever way, are; later ones have traces of their own."""
    spans = begun(most_children=1000)
    inside = [
        spans.of(task_id).trace_id == spans.run.trace_id for task_id in ("x-3e7", "x-t3e7", "x-3e8", "x-t3e8", "own")
    ]
    assert inside == [True, True, False, False, True]


def test_a_run_that_was_begun_in_a_span_is_in_its_trace() -> None:
    """Then whether it is recorded was decided there."""
    parent = SpanPlace(5, 6, False)
    spans = begun(parent, ratio=1.0)
    assert (spans.run.trace_id, spans.run.sampled, spans.parent) == (5, False, parent)


@pytest.mark.parametrize(("ratio", "least", "most"), [(0.0, 0, 0), (0.25, 150, 350), (1.0, 1000, 1000)])
def test_a_part_of_the_traces_is_recorded(ratio: float, least: int, most: int) -> None:
    """As many as the ratio says, of those that begin here."""
    spans = begun(most_children=0, ratio=ratio)
    assert least <= sum(spans.of(f"x-{number:x}").sampled for number in range(1000)) <= most
