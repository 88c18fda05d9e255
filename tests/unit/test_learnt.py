"""What was learnt of tasks by kind, as a journal keeps it, told to people and programs."""

from __future__ import annotations

from longshore._engine.learning import Kind, Learning, size_bucket
from longshore._runtime.learnt import LEARNT, LearntKind, learnt_kinds
from longshore.cli.learnt import learnt_lines, learnt_of
from longshore.records import CommitBatch, RunOpening
from longshore.testing import MemoryJournal


def learnt() -> Learning:
    learning = Learning()
    learning.saw(Kind("ocr", size_bucket(3 << 20)), 100.0, 0.5)
    learning.cut_off(Kind("ocr", size_bucket(3 << 20)), 200.0)
    learning.saw(Kind("read"), 10.0)
    return learning


def test_kinds_are_told_with_what_is_set_aside() -> None:
    """By name and size of the input, the one heard of last first; what can't be read is left out."""
    read, ocr = learnt_kinds(learnt().to_dict())
    assert (read.name, read.input_bytes_most, read.tasks, read.ended, read.cores) == ("read", 1 << 16, 1, 0, None)
    assert (ocr.name, ocr.tasks, ocr.ended, ocr.most_mb, ocr.cores) == ("ocr", 1, 1, 100.0, 0.5)
    assert ocr.memory_mb is not None
    assert ocr.memory_mb > 200.0
    assert 3 << 20 <= ocr.input_bytes_most < 4 * (3 << 20)
    for nothing in (None, {}, {"version": 9}, {"version": 1, "kinds": [["a", 0, {}]]}, "x"):
        assert learnt_kinds(nothing) == []


def test_a_size_is_no_larger_than_what_its_kind_tells() -> None:
    """The bound that is told is the largest size that is of the kind."""
    for size in (0, 1, 1 << 16, (1 << 16) + 1, 1 << 18, (1 << 18) + 1, 1 << 30):
        learning = Learning()
        learning.saw(Kind("x", size_bucket(size)), 1.0)
        [kind] = learnt_kinds(learning.to_dict())
        assert size <= kind.input_bytes_most
        assert size_bucket(kind.input_bytes_most) == size_bucket(size)


def test_what_a_journal_has_is_told_in_lines() -> None:
    """A line for each kind, the first twenty; none where nothing was learnt."""
    journal = MemoryJournal()
    journal.open(RunOpening(run_id="r1", at=0.0))
    journal.commit(CommitBatch(run_id="r1", states={LEARNT: learnt().to_dict()}))
    told = list(learnt_lines(learnt_of(journal.archive(), "r1")))
    assert told[0] == "learnt of what tasks take, by kind: 2"
    assert told[1].startswith("  read, inputs up to 64 KiB: 11.5 MB are set aside, 10 MB was the most of the last")
    assert "1 ended before, 0.5 cores" in told[2]
    assert learnt_of(journal.archive(), "no such run") == []
    many = [
        LearntKind(name=f"k{n}", input_bytes_most=1 << 30, tasks=1, ended=0, memory_mb=None, most_mb=0.0, cores=None)
        for n in range(22)
    ]
    assert list(learnt_lines(many))[-1] == "  and 2 more"
    assert list(learnt_lines([])) == []
