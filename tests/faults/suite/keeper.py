"""A program that keeps a journal, and says after each commit that it returned: `keeper.py ROOT DURABILITY BATCHES`.

It runs on a disk that is written down, or that fails (see disk.c). With FAILS, a list of [kind, nth, errno], it does so
once for each in a fork of its own, in the folder ROOT/NUMBER, and writes what came of it to ROOT/NUMBER.said.
"""

import ctypes
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from longshore.errors import JournalError
from longshore.records import Accepted, CommitBatch, RunOpening, Settled, TaskKind
from longshore.task import Outcome, TaskState
from longshore_sqlite import SqliteJournal, _journal

KIND = TaskKind(name="work", function="keeper.work", version="1")
_journal._CHECKPOINT_BYTES = 48 << 10  # often, so that there is much of it in little


def value_of(name: str) -> str:
    """Return the result of a task: of some hundred bytes, of more than a page, or of a file of its own."""
    number = sum(map(ord, name))
    return name * (25_000 if number % 13 == 0 else 900 if number % 5 == 0 else 30)


def names(number: int) -> list[str]:
    """Return the tasks of one commit."""
    return [f"b{number}-{one}" for one in range(1 + number % 4)]


def batch(number: int) -> CommitBatch:
    """Return what is committed as one."""
    ids = names(number)
    outcomes = [Outcome(name, None, number, "work", TaskState.COMPLETED, value_of(name)) for name in ids]
    waiting = [Accepted(task_id=f"w{number}", kind=KIND, identity=f"of w{number}")]
    return CommitBatch(run_id="run", at=1.0, accepted=waiting, settled=[Settled(KIND, outcomes, ids)])


def keep(root: Path, durability: str, batches: int, acks: int) -> None:
    """Commit so many, and leave off and go on in between."""
    journal: Any = None
    try:
        for number in range(batches):
            if number % 11 == 0:
                if journal is not None:
                    journal.close()
                journal = SqliteJournal(SqliteJournal.Settings(path=str(root), durability=durability))
                recalled = journal.open(RunOpening(run_id="run", at=1.0, resume=number > 0))
                print(*recalled.notes, sep="\n", flush=True)
            journal.commit(batch(number))
            os.write(acks, b"%d\n" % number)
    except JournalError:
        with suppress(JournalError):
            journal.close()  # as the pool does, whatever happened
        raise


def main(root: str, durability: str, batches: str, fails: str = "[]") -> None:
    """Keep one journal, or one for each failure."""
    for number, (kind, nth, how) in enumerate(json.loads(fails)):
        pid = os.fork()
        if pid == 0:
            os._exit(_failing(Path(root, str(number)), durability, int(batches), kind, nth, how))
        os.waitpid(pid, 0)
    if fails == "[]":
        acks = os.open(Path(root, "acks"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        keep(Path(root, "runs"), durability, int(batches), acks)


def _failing(root: Path, durability: str, batches: int, kind: str, nth: int, how: int) -> int:
    root.mkdir()
    os.environ["DISK_LOG"] = f"{root}.log"
    acks = os.open(f"{root}.acks", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)  # outside of what fails
    os.environ["DISK_ROOT"] = str(root)
    ctypes.CDLL(os.environ["LD_PRELOAD"]).disk_arm(ord(kind), nth, how)
    said = "ended"
    try:
        keep(root / "runs", durability, batches, acks)
    except JournalError as error:
        said = f"JournalError {error.facts.get('reason')}"
    except BaseException as error:
        said = f"{type(error).__name__}: {error}"
    Path(f"{root}.said").write_text(said)
    return 0


if __name__ == "__main__":
    main(*sys.argv[1:])
