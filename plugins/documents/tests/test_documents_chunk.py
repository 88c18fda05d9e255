"""Chunks cover the text, keep their size, repeat what they are told to, and are cut where the text is."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from longshore.processor import ProcessorContext
from longshore_documents import ChunkProcessor
from longshore_documents.split import split
from pydantic import ValidationError

SIGNS = "ab .!?\n\t。x'\u0301é"
TEXTS = st.text(st.sampled_from(SIGNS), max_size=400) | st.text(max_size=200)
LONG = st.builds(
    lambda seed, signs, count: "".join(random.Random(seed).choices(signs, k=count)),
    st.integers(0, 1 << 32),
    st.sampled_from([SIGNS, "abcdefgh ", "ab .\n"]),
    st.integers(100, 1000),
)
"""Texts of many chunks at the price of three numbers."""
SIZES = st.integers(16, 80).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size // 3)))


def chunked(data: dict[str, Any], **sizes: Any) -> dict[str, Any]:
    processor = ChunkProcessor(ChunkProcessor.Settings(**sizes) if sizes else None)
    return dict(processor.process(ProcessorContext(document_id="d", previous_results={"extract": data})).data)


@pytest.mark.slow
@given(text=TEXTS | LONG, sizes=SIZES, marks=st.lists(st.integers(0, 400)))
@settings(max_examples=300, deadline=None)
def test_chunks_cover_the_text_in_order(text: str, sizes: tuple[int, int], marks: list[int]) -> None:
    """Each chunk begins where the last one's new text ended, or up to the overlap before; none is empty or too long."""
    size, overlap = sizes
    chunks = list(split(text, max_chars=size, overlap_chars=overlap, borders=sorted(marks)))
    end = 0
    for chunk in chunks:
        assert chunk.fresh == end
        assert chunk.fresh - overlap <= chunk.start <= chunk.fresh < chunk.end <= chunk.start + size
        end = chunk.end
    assert end == len(text)
    assert [chunk.start for chunk in chunks] == sorted({chunk.start for chunk in chunks})


def overlaps_as_words_allow(text: str, size: int, overlap: int) -> None:
    for chunk in split(text, max_chars=size, overlap_chars=overlap):
        earliest = max(0, chunk.fresh - overlap)
        starts = [
            place
            for place in range(earliest, chunk.fresh)
            if not text[place].isspace() and (place == 0 or text[place - 1].isspace())
        ]
        assert chunk.start == (starts[0] if starts else earliest)


@given(text=LONG, sizes=SIZES)
@settings(max_examples=40, deadline=None)
def test_the_overlap_is_as_long_as_words_allow(text: str, sizes: tuple[int, int]) -> None:
    """A chunk begins at the first word that begins within the overlap; where none does, exactly the overlap before."""
    overlaps_as_words_allow(text, *sizes)


@pytest.mark.slow
@given(text=TEXTS | LONG, sizes=SIZES)
@settings(max_examples=300, deadline=None)
def test_the_overlap_is_as_long_as_words_allow_in_any_text(text: str, sizes: tuple[int, int]) -> None:
    """The same, for signs of any language too."""
    overlaps_as_words_allow(text, *sizes)


def test_headings_are_cut_at_before_paragraphs_sentences_and_words() -> None:
    """With borders of every kind within reach, the strongest one nearest to the limit is taken."""
    text = "one two. three four\n\nfive six. seven Heading eight nine ten eleven twelve thirteen"
    heading = text.index("Heading")
    first = next(split(text, max_chars=50, overlap_chars=0, borders=[heading]))
    assert first.end == heading
    first = next(split(text[21:], max_chars=18, overlap_chars=0))
    assert text[21:][: first.end] == "five six. "


def test_paragraphs_are_cut_at_before_lines_and_sentences() -> None:
    """An empty line within reach is taken, though lines and sentences end nearer to the limit."""
    text = "First words here.\n\nSecond. Third\nfourth fifth sixth seventh"
    assert next(split(text, max_chars=34, overlap_chars=0)).end == text.index("Second")


def test_chunks_hold_offsets_and_their_heading() -> None:
    """The result keeps what `extract` gave and adds chunks of offsets, each with the heading above its new text."""
    text = "Intro\n\n" + "alpha beta. " * 10 + "\n\nNext\n\n" + "gamma delta. " * 10
    place = text.index("Next")
    headings = [{"level": 1, "start": 0, "end": 5}, {"level": 1, "start": place, "end": place + 4}]
    given_data = {"text": text, "title": "Intro", "headings": headings, "parts": []}
    got = chunked(given_data, max_chars=100, overlap_chars=20)
    assert {key: got[key] for key in given_data} == given_data
    assert [chunk["index"] for chunk in got["chunks"]] == list(range(len(got["chunks"])))
    assert {chunk["heading"] for chunk in got["chunks"]} == {"Intro", "Next"}
    assert all(set(chunk) == {"index", "start", "end", "heading"} for chunk in got["chunks"])
    json.dumps(got)


def test_chunks_repeat_their_text_when_asked() -> None:
    """With `with_text`, each chunk's text is the one its offsets point at."""
    text = "word " * 200
    got = chunked({"text": text}, with_text=True)
    assert all(chunk["text"] == text[chunk["start"] : chunk["end"]] for chunk in got["chunks"])


def test_any_stage_before_that_gives_a_text_will_do() -> None:
    """A pipeline may name its first stage otherwise; without any text before it, `chunk` says what it needs."""
    context = ProcessorContext(document_id="d", previous_results={"ocr": {"text": "some text"}})
    assert ChunkProcessor().process(context).data["chunks"][0]["end"] == 9
    with pytest.raises(ValueError, match="extract"):
        ChunkProcessor().process(ProcessorContext(document_id="d"))


def test_an_overlap_that_leaves_no_room_is_refused() -> None:
    """More than a third of the size cannot be repeated, and unknown settings are errors."""
    with pytest.raises(ValidationError, match="third"):
        ChunkProcessor.Settings(max_chars=100, overlap_chars=40)
    with pytest.raises(ValidationError):
        ChunkProcessor.Settings(size=3)
