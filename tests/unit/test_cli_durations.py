"""What the archive says of how long inputs will take, and the order that follows."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from longshore.cli import durations
from longshore.cli.durations import Forecast, Target, order_told, ordered
from longshore.cli.recorded import CommandRecord, InputRecord, states_of
from longshore.records import Accepted, CommitBatch, RunOpening, Settled, TaskKind, Tried
from longshore.task import Outcome, TaskState
from longshore.testing import MemoryJournal

Took = dict[str, float | tuple[float, TaskState]]


class History:
    """Runs over files in `folder`, as the command records them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = MemoryJournal()
        self._ids = itertools.count()

    def write(self, **sizes: int) -> list[str]:
        """Make files of such sizes; "_" stands for the dot. Return their whole paths."""
        paths = [self.folder / name.replace("_", ".") for name in sizes]
        for path, size in zip(paths, sizes.values(), strict=True):
            path.write_bytes(b"x" * size)
        return [str(path) for path in paths]

    def run(self, run_id: str, *, target: str = "p", folder: Path | None = None, **took: Took) -> None:
        """Record a run in which files took so long by stage, or failed after so long."""
        place = folder or self.folder
        names = [name.replace("_", ".") for name in took]
        command = CommandRecord(
            target=target, folder=str(place), output=None, options={}, table={}, steps=(), inputs=len(names)
        )
        told = [InputRecord(name, (self.folder / name).stat().st_size) for name in names]
        states = states_of(command, told)
        at = float(next(self._ids))
        self.journal.open(RunOpening(run_id=run_id, at=at, name=target, states=states))
        for name, stages in zip(names, took.values(), strict=True):
            for stage, value in stages.items():
                seconds, state = value if isinstance(value, tuple) else (value, TaskState.COMPLETED)
                self.settle(run_id, name, stage, seconds, state)

    def settle(
        self, run_id: str, key: str, stage: str, seconds: float, state: TaskState, *, earlier_s: float | None = None
    ) -> None:
        task_id, kind = f"t{next(self._ids)}", TaskKind(name=stage)
        if earlier_s is not None:
            told = Accepted(task_id=task_id, kind=kind, key=key)
            died = Tried(task_id=task_id, number=1, state=TaskState.FAILED, ran_s=earlier_s)
            self.journal.commit(CommitBatch(run_id=run_id, accepted=[told], tried=[died]))
        outcome = Outcome(task_id, key, 0, stage, state, attempts=1 + (earlier_s is not None), ran_s=seconds)
        self.journal.commit(CommitBatch(run_id=run_id, settled=[Settled(kind, [outcome], [None])]))

    def says(self, *paths: str, target: str = "p", folder: Path | None = None) -> Forecast:
        return Forecast.read(self.journal.archive(), Target(target, str(folder or self.folder)), paths)


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    """Return an empty history of runs in the current folder."""
    monkeypatch.chdir(tmp_path)
    return History(tmp_path)


def test_an_input_takes_what_it_took_before(history: History) -> None:
    """By the file's path and size, however it is named now: each stage the median of the runs that were read."""
    [path] = history.write(a_txt=10)
    for number, took in enumerate((1.0, 5.0, 2.0)):
        history.run(f"r{number}", a_txt={"read": took, "cut": 0.5})
    found = history.says(path, "a.txt")
    assert found.seconds == {path: {"read": 2.0, "cut": 0.5}, "a.txt": {"read": 2.0, "cut": 0.5}}
    assert (found.recorded, found.runs, found.total_s("a.txt")) == (2, ["r2", "r1", "r0"], 2.5)


def test_what_is_not_recorded_follows_from_its_size(history: History) -> None:
    """A new file, and one whose size is another by now, takes by the byte what files of its suffix took, or all did."""
    history.write(a_txt=10, b_txt=10, c_txt=10, d_pdf=10)
    history.run("r", a_txt={"read": 1.0}, b_txt={"read": 2.0}, c_txt={"read": 3.0}, d_pdf={"read": 40.0})
    history.write(a_txt=20, new_TXT=5, new_odt=8)
    found = history.says("a.txt", "new.TXT", "new.odt", "none")
    assert found.seconds == {
        "a.txt": {"read": pytest.approx(4.0)},
        "new.TXT": {"read": pytest.approx(1.0)},
        "new.odt": {"read": pytest.approx(2.0)},  # by the median of all: 0.25 s a byte
    }
    assert found.recorded == 0
    assert found.total_s("none") is None


def test_what_did_not_complete_takes_no_less_than_it_ran(history: History) -> None:
    """A time-out is no sign of a quick input, nor is a failure at once where the input has completed in other runs."""
    history.write(slow=1, flaky=1, bad=1)
    out, failed = TaskState.TIMED_OUT, TaskState.FAILED
    history.run("r0", slow={"s": 9.0}, flaky={"s": 3.0}, bad={"s": (0.25, failed)})
    history.run("r1", slow={"s": (60.0, out)}, flaky={"s": (0.125, failed)}, bad={"s": (0.25, failed)})
    history.run("r2", slow={"s": (60.0, out)}, flaky={"s": (0.125, failed)}, bad={"s": (0.25, failed)})
    history.run("r3", slow={"s": (7.0, TaskState.CANCELLED)})
    found = history.says("slow", "flaky", "bad")
    assert found.seconds == {"slow": {"s": 60.0}, "flaky": {"s": 3.0}, "bad": {"s": 0.25}}
    assert found.runs == ["r2", "r1", "r0"]


def test_all_attempts_count(history: History) -> None:
    """What earlier attempts of a task ran is part of what the input took."""
    history.write(a=1)
    history.run("r", a={})
    history.settle("r", "a", "s", 2.0, TaskState.COMPLETED, earlier_s=3.0)
    assert history.says("a").seconds == {"a": {"s": 5.0}}


def test_only_the_same_target_counts(history: History, tmp_path: Path) -> None:
    """A pipeline is known by its name; a function by its folder too, for another folder may have another one."""
    other = tmp_path / "other"
    other.mkdir()
    history.write(a=1)
    history.run("r0", a={"s": 1.0})
    history.run("r1", target="m:f", a={"m:f": 2.0})
    path = str(tmp_path / "a")
    assert history.says(path, folder=other).seconds == {path: {"s": 1.0}}
    assert history.says(path, target="m:f").seconds == {path: {"m:f": 2.0}}
    assert history.says(path, target="m:f", folder=other) == Forecast()
    assert history.says(path, target="q") == Forecast()


def test_what_is_read_is_bounded(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest runs are read until it is five, or so many tasks; older ones are not looked at."""
    history.write(a=1, b=1)
    for number in range(7):
        history.run(f"r{number}", a={"s": float(number)}, b={"s": 1.0})
    assert history.says("a").runs == ["r6", "r5", "r4", "r3", "r2"]
    monkeypatch.setattr(durations, "TASKS_MOST", 3)
    assert history.says("a").runs == ["r6", "r5"]
    assert history.says("a").total_s("a") == 5.5
    monkeypatch.setattr(durations, "LOOKED_AT", 2)
    history.run("other", target="q", a={"s": 1.0})
    assert history.says("a").runs == ["r6"]


def test_a_run_that_can_not_be_read_is_passed_over(history: History) -> None:
    """Neither a run of another program nor one whose states are of another version stands in the way."""
    history.write(a=1)
    history.run("r0", a={"s": 1.0})
    history.journal.open(RunOpening(run_id="own", at=1e3, name="p"))
    history.journal.open(RunOpening(run_id="odd", at=1e4, name="p", states={"command": {"target": 7}}))
    assert history.says("a").seconds == {"a": {"s": 1.0}}


def test_the_longest_go_first(history: History) -> None:
    """Inputs go by what they will take, by size where nothing says; equal ones keep their order, no files come last."""
    history.write(a=1, b=3, c=2)
    assert ordered(["z", "a", "b", "c", "y"], Forecast()) == ["b", "c", "a", "z", "y"]
    history.run("r", a={"s": 9.0}, b={"s": 0.3})
    assert ordered(["z", "a", "b", "c", "y"], history.says("a", "b", "c")) == ["c", "a", "b", "z", "y"]


@pytest.mark.parametrize(
    ("recorded", "runs", "text"),
    [
        (2, ["r2", "r1", "r0"], "order: 2 of 3 inputs by how long they took in run r2 and 2 others, the rest by size"),
        (3, ["r2", "r1"], "order: all 3 inputs by how long they took in run r2 and 1 other"),
        (0, ["r2"], "order: by size and kind of file, and what such took in run r2"),
        (0, [], "order: by size, for no earlier run of p is recorded"),
    ],
)
def test_what_the_order_goes_by_is_told(recorded: int, runs: list[str], text: str) -> None:
    """One line says how many inputs are known, and from which runs."""
    seconds = {name: {"s": 1.0} for name in "abc"} if runs else {}
    assert order_told(Forecast(seconds, recorded, runs), "p") == text
