"""What one frame of the live view holds, for scripted snapshots and sizes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from longshore.records import FailureGroup, RunningTask, RunSnapshot, StageSnapshot, Usage
from longshore_rich._frame import Frames, Shares, rows_for, shares
from longshore_rich._text import ASCII, UNICODE, Glyphs

Maker = Callable[..., RunSnapshot]
StageMaker = Callable[..., StageSnapshot]


def drawn(snapshot: RunSnapshot, width: int = 120, height: int = 24, glyphs: Glyphs = ASCII) -> list[str]:
    return [row.plain for row in Frames(glyphs).frame(snapshot, width, rows_for(width, height))]


def test_a_frame_on_a_usual_terminal(snapshot_with: Maker) -> None:
    """Head, a row per stage, throttle, gauges, what is slow now, what failed: in this order."""
    rows = drawn(snapshot_with())
    assert rows[0] == (
        "longshore  run 01JC3KQ7  demo  3m12s  2,341/9,016 25%  eta 8m00s-12m00s  12.4/s  ok 2,318  retry 9  FAILED 23"
    )
    assert rows[1].startswith("fetch  #########.......   61%  3,355/5,500  running 2")
    assert "FAILED 23" in rows[2]
    assert rows[3] == "throttled: parse held at 6 of 8 workers - memory 13.1 of 14.0 GB"
    assert rows[4] == "cpu 78% ####.. | memory 13.1GB/14.0GB #####. | disk 120MB/s | network 30MB/s"
    assert rows[5] == "slowest now: a.pdf parse 12s 40%"
    assert rows[6] == "             b.pdf parse 9.1s +36 more"
    assert rows[7] == "failures: 15x OCRError tesseract init"
    assert rows[8:] == [""]


def test_what_is_overdue_is_counted_and_marked(snapshot_with: Maker) -> None:
    """In the head, and at each slow task that is past its soft timeout."""
    slow = [
        RunningTask(task_id="a", name="parse", executor="x", running_s=61, label="a.pdf", progress=0.4, overdue=True),
        RunningTask(task_id="b", name="parse", executor="x", running_s=9, label="b.pdf"),
    ]
    rows = drawn(snapshot_with(slowest=slow, overdue=1, running=2, cancelled=0), width=200)
    assert "  overdue 1  " in rows[0]
    assert rows[5] == "slowest now: a.pdf parse 1m01s overdue 40%"
    assert rows[6] == "             b.pdf parse 9.0s"


def test_a_stage_has_its_counts_its_rate_and_its_mean(snapshot_with: Maker, stage_of: StageMaker) -> None:
    """The row of a stage tells what is done, running, failed, queued, retrying, how fast, and how long each takes."""
    stage = stage_of(
        "parse", submitted=40, completed=20, failed=3, queued=9, retrying=1, running=7, rate_per_s=12.4, mean_s=1.94
    )
    assert drawn(snapshot_with(stages=[stage], total=None))[1] == (
        "parse  #########.......   57%  23/40  running 7  FAILED 3  queued 9  retry 1  12.4/s  mean 1.9s  processes"
    )


def test_the_number_of_rows_is_fixed(snapshot_with: Maker, stage_of: StageMaker) -> None:
    """A run that has just begun has as many rows as a busy one and one with many stages: only the size decides."""
    quiet = snapshot_with(throttled=None, slowest=[], failures=[], usage={}, stages=[], failed=0)
    many = snapshot_with(stages=[stage_of(f"stage-{n}") for n in range(40)])
    for width, height in [(120, 24), (40, 10), (200, 60), (20, 5)]:
        counts = {len(drawn(snapshot, width, height)) for snapshot in (quiet, snapshot_with(), many)}
        assert counts == {rows_for(width, height)}


def test_failures_keep_their_row_while_slow_tasks_come_and_go(snapshot_with: Maker) -> None:
    """Rows that were used for slow tasks stay empty rather than that what is below moves."""
    frames, rows = Frames(ASCII), rows_for(120, 24)
    busy = [row.plain for row in frames.frame(snapshot_with(), 120, rows)]
    idle = [row.plain for row in frames.frame(snapshot_with(slowest=[], running=0), 120, rows)]
    assert busy[7] == idle[7] == "failures: 15x OCRError tesseract init"


def test_a_paused_run_says_so(snapshot_with: Maker) -> None:
    """A pool that was paused is not throttled: the line says what it is."""
    assert drawn(snapshot_with(throttled="paused"))[3] == "paused: nothing new is started"


@pytest.mark.parametrize("height", [1, 2, 3, 5, 8, 10, 15, 24, 50])
@pytest.mark.parametrize("width", [1, 10, 39, 79, 200])
@pytest.mark.parametrize("stages", [0, 1, 4, 40])
def test_a_frame_keeps_to_its_budget(
    snapshot_with: Maker, stage_of: StageMaker, width: int, height: int, stages: int
) -> None:
    """A frame is at most 40 % of the height and one row less than it, and never wider than told; the head stays."""
    snapshot = snapshot_with(stages=[stage_of(f"stage-{n}") for n in range(stages)])
    for glyphs in (ASCII, UNICODE):
        rows = Frames(glyphs).frame(snapshot, width, rows_for(width, height))
        assert 1 <= len(rows) <= max(1, min(height - 1, int(height * 0.4)))
        assert all(row.cell_len <= width for row in rows)
        assert all("\n" not in row.plain for row in rows)


def test_sections_are_dropped_from_the_end() -> None:
    """Short of rows, first failures go, then slow ones, gauges and throttling; stages collapse but stay."""
    assert [shares(rows, 2) for rows in (10, 7, 6, 5, 4, 3, 2, 1)] == [
        Shares(2, 1, 1, 4, 1),
        Shares(2, 1, 1, 1, 1),
        Shares(2, 1, 1, 1, 0),
        Shares(2, 1, 1, 0, 0),
        Shares(2, 1, 0, 0, 0),
        Shares(2, 0, 0, 0, 0),
        Shares(1, 0, 0, 0, 0),
        Shares(0, 0, 0, 0, 0),
    ]
    assert shares(9, 40) == Shares(4, 1, 1, 1, 1)
    assert [rows_for(*size) for size in [(80, 24), (40, 10), (20, 5), (29, 24), (80, 5), (80, 200), (1, 1)]] == [
        9,
        4,
        1,
        1,
        1,
        16,
        1,
    ]


def test_stages_that_do_not_fit_are_counted(snapshot_with: Maker, stage_of: StageMaker) -> None:
    """Those with work left are shown, in their order, and the last row says how many are not."""
    stages = [stage_of(f"stage-{n}", running=0, queued=0) for n in range(10)]
    stages[4], stages[8] = stage_of("busy-4"), stage_of("busy-8")
    rows = drawn(snapshot_with(stages=stages))
    assert [row.split()[0] for row in rows[1:5]] == ["stage-0", "busy-4", "busy-8", "+7"]
    assert rows[4] == "+7 more"


def test_a_narrow_head_keeps_what_matters(snapshot_with: Maker) -> None:
    """On a narrow terminal the head loses the run's id first, and done and failed last."""
    assert drawn(snapshot_with(), width=79)[0] == (
        "longshore  3m12s  2,341/9,016 25%  eta 8m00s-12m00s  ok 2,318  FAILED 23"
    )
    assert drawn(snapshot_with(), width=40)[0] == "longshore  2,341/9,016 25%  FAILED 23"
    assert drawn(snapshot_with(), width=18) == ["2,341/9,016 25%"]


def test_rows_that_do_not_fit_are_counted(snapshot_with: Maker) -> None:
    """Kinds of failure beyond the width are counted, and the first is always there."""
    groups = [FailureGroup(type=f"Error{n}", message="m" * 50, reason=None, count=n) for n in range(1, 30)]
    row = drawn(snapshot_with(failures=groups), width=100)[7]
    assert row.startswith("failures: 1x Error1 mmm")
    assert row.endswith("+28 more")


def test_a_run_without_a_total_counts(snapshot_with: Maker) -> None:
    """Where nobody knows how many there will be, no share is made up."""
    assert "2,341 done" in drawn(snapshot_with(total=None))[0]


def test_a_gauge_without_a_bound_is_a_number(snapshot_with: Maker) -> None:
    """A resource with no known capacity is shown without a bar; GPU memory reads as memory; pressure is no resource."""
    usage = {
        "cpu": Usage(1.5),
        "pressure.io.some": Usage(5.0, 100.0),
        "gpu.0": Usage(91.0, 100.0),
        "gpu_memory.0": Usage(10_200.0, 24_000.0),
    }
    assert drawn(snapshot_with(usage=usage))[4] == "cpu 1.5 | gpu.0 91% #####. | gpu_memory.0 10.2GB/24.0GB ##...."


def test_hostile_names_are_only_text(snapshot_with: Maker, stage_of: StageMaker, hostile: list[str]) -> None:
    """Whatever tasks, labels, messages and exceptions are called, a frame holds no control, and markup is text."""
    for name in hostile:
        snapshot = snapshot_with(
            name=name,
            run_id=name,
            throttled=name,
            stages=[stage_of(name)],
            slowest=[RunningTask(task_id=name, name=name, executor="e", running_s=1, label=name, message=name)],
            failures=[FailureGroup(type=name, message=name, reason=name, count=2, labels=[name])],
            usage={name: Usage(1.0, 2.0)},
        )
        for row in drawn(snapshot, glyphs=UNICODE):
            assert not any(
                ord(char) < 0x20 or 0x7F <= ord(char) <= 0x9F or char in "\u202e\u2066\u200b" for char in row
            )
            row.encode("utf-8")
    assert drawn(snapshot_with(stages=[stage_of("[/x][bold]")]))[1].startswith("[/x][bold]  ")
