"""What goes wrong around a database: each is named, nothing is told that does not last, and the run can go on."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from longshore.errors import JournalError
from longshore.records import JournalQuery
from longshore_sqlite import _journal, _place

Make = Callable[..., Any]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a file system of half a MiB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root on Linux")
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "tmpfs", str(folder)])
    if done.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("size", [500, 40_000, 70_000], ids=["rows", "large rows", "files"])
def test_a_full_disk_is_named_and_nothing_is_acknowledged_falsely(
    small_disk: Path, journal_of: Make, opening: Make, batch: Make, size: int
) -> None:
    """The commit that does not fit raises; all before it are there, and with room again the run goes on."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * 150_000)
    path = str(small_disk / "runs")
    journal = journal_of(path=path)
    journal.open(opening())
    kept: list[str] = []

    def fill() -> None:
        while len(kept) < 5000:
            name = f"t{len(kept)}"
            journal.commit(batch({name: "x" * size + name}))
            kept.append(name)

    with pytest.raises(JournalError, match="full") as raised:
        fill()
    assert raised.value.facts["reason"] == "full"
    with pytest.raises(JournalError):
        journal.commit(batch({"later": 1}))
    with suppress(JournalError):  # it may have to write, and can't
        journal.close()
    ballast.unlink()
    journal = journal_of(path=path)
    recalled = journal.open(opening(resume=True))
    assert {entry.task_id for entry in recalled.tasks} == set(kept)
    assert len(journal.load(JournalQuery())) == len(kept)
    journal.commit(batch({"later": 1}))
    journal.close()


def test_a_database_that_another_process_holds_is_waited_for_and_named(
    root: Path, journal_of: Make, opening: Make, batch: Make
) -> None:
    """A commit waits for `busy_timeout_s`; let go in time it succeeds, else the error says that it is locked."""
    journal = journal_of(busy_timeout_s=0.2)
    journal.open(opening())
    other = sqlite3.connect(root / "run" / "journal.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.05, lambda: other.execute("ROLLBACK"))
    timer.start()
    journal.commit(batch({"a": 1}))
    timer.join()
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError, match="another process holds it") as raised:
        journal.commit(batch({"b": 1}))
    assert raised.value.facts["reason"] == "locked"
    other.execute("ROLLBACK")
    other.close()
    journal.close()


class Broken:
    """A connection whose nth COMMIT fails as a disk does."""

    def __init__(self, connection: sqlite3.Connection, error: sqlite3.Error) -> None:
        self._connection, self._error = connection, error
        self.after: list[str] = []
        self.failed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *values: Any) -> Any:
        if self.failed:
            self.after.append(statement)
        if statement == "COMMIT":
            self.failed = True
            raise self._error
        return self._connection.execute(statement, *values)


def test_after_an_error_of_the_disk_nothing_is_written_again(
    journal_of: Make, opening: Make, batch: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An fsync that failed is not tried again: the connection is let go of without being closed, which would write."""
    leaked: list[object] = []
    monkeypatch.setattr(_journal, "_leak", leaked.append)
    journal = journal_of()
    journal.open(opening())
    journal.commit(batch({"a": 1}))
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
    real = journal._connection
    broken = journal._connection = Broken(real, error)
    with pytest.raises(JournalError, match="could not read or write") as raised:
        journal.commit(batch({"b": 1}))
    assert raised.value.facts["reason"] == "io"
    assert broken.after == ["ROLLBACK"]
    assert leaked == [broken]
    with pytest.raises(JournalError, match="not open"):
        journal.commit(batch({"b": 1}))
    journal.close()
    real.close()
    journal = journal_of()
    assert [entry.task_id for entry in journal.open(opening(resume=True)).tasks] == ["a"]
    journal.close()


def whole(root: Path, journal_of: Make, opening: Make, batch: Make) -> Path:
    journal = journal_of()
    journal.open(opening())
    for number in range(20):
        journal.commit(batch({f"t{number}-{one}": {"text": "x" * 200} for one in range(20)}))
    journal.close()
    return root / "run" / "journal.db"


def readable(journal_of: Make, opening: Make) -> int:
    """Return how many outcomes can be read of a run that goes on; JournalError where it is refused."""
    journal = journal_of()
    journal.open(opening(resume=True))
    try:
        return len(journal.load(JournalQuery()))
    finally:
        journal.close()


def test_a_torn_database_is_named(root: Path, journal_of: Make, opening: Make, batch: Make) -> None:
    """Cut off anywhere, it is refused with its name, or all of it is there; never a part of it in silence."""
    path = whole(root, journal_of, opening, batch)
    content = path.read_bytes()
    dice = random.Random(7)
    for size in [0, 1, 99, 100, 511, 4096, *(dice.randrange(len(content)) for _ in range(25)), len(content) - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(JournalError, match=r"journal\.db"):
            readable(journal_of, opening)
    path.write_bytes(content)
    assert readable(journal_of, opening) == 400


def test_a_flipped_bit_changes_no_result_of_the_spool(root: Path, journal_of: Make, opening: Make, batch: Make) -> None:
    """A large result that is not what was written, or is gone, is named and not given."""
    journal = journal_of()
    journal.open(opening())
    journal.commit(batch({"a": "x" * 100_000}))
    [path] = (root / "run" / "spool").iterdir()
    content = bytearray(path.read_bytes())
    content[5000] ^= 4
    path.write_bytes(content)
    with pytest.raises(JournalError, match="damaged"):
        journal.load(JournalQuery())
    path.unlink()
    with pytest.raises(JournalError, match="give a result back"):
        journal.load(JournalQuery())
    journal.close()


def test_a_flipped_bit_changes_no_result_of_a_row(root: Path, journal_of: Make, opening: Make, batch: Make) -> None:
    """What SQLite takes for whole, and is not what was written, is named and not given."""
    path = whole(root, journal_of, opening, batch)
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE tasks SET value = CAST(replace(value, 'xxx', 'xyx') AS BLOB) WHERE task_id = 't3-4'")
        other.commit()
    journal = journal_of()
    journal.open(opening(resume=True))
    with pytest.raises(JournalError, match="t3-4") as raised:
        journal.load(JournalQuery())
    assert raised.value.facts["reason"] == "damaged"
    journal.close()


def test_a_state_that_there_is_not_is_named(root: Path, journal_of: Make, opening: Make, batch: Make) -> None:
    """A row that makes no sense is damage, and says of which task."""
    path = whole(root, journal_of, opening, batch)
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE tasks SET state = 'bompleted' WHERE task_id = 't3-4'")
        other.commit()
    with pytest.raises(JournalError, match="damaged: what it has of t3-4"):
        journal_of().open(opening(resume=True))


def test_a_run_that_was_killed_as_it_began_is_not_there(
    root: Path, journal_of: Make, opening: Make, batch: Make
) -> None:
    """Its database has its name once it is whole: before that there is no run, and what was left is in nobody's way."""
    folder = root / "run"
    folder.mkdir(mode=0o700, parents=True)
    root.chmod(0o700)
    (folder / ".journal.db").write_bytes(b"half of it")
    (folder / ".journal.db-journal").write_bytes(b"more")
    with pytest.raises(JournalError, match="there is no run"):
        journal_of().open(opening(resume=True))
    assert journal_of().archive().runs() == []
    journal = journal_of()
    journal.open(opening())
    journal.commit(batch({"a": 1}))
    journal.close()
    assert readable(journal_of, opening) == 1
    assert not list(folder.glob(".journal*"))


def test_a_checkpoint_that_was_cut_off_is_done_again(root: Path, journal_of: Make, opening: Make, batch: Make) -> None:
    """A database that ends within a page is whole where the log has that page; it was being worked in."""
    journal = journal_of()
    journal.open(opening())
    for number in range(30):
        journal.commit(batch({f"t{number}": "x" * 3000}))
    files = {name: (root / "run" / name).read_bytes() for name in ("journal.db", "journal.db-wal")}
    journal.close()
    files["journal.db"] += b"x" * 1000
    for name, data in files.items():
        (root / "run" / name).write_bytes(data)
    assert readable(journal_of, opening) == 30


def test_a_killed_writer_leaves_whole_commits(root: Path, journal_of: Make, opening: Make, batch: Make) -> None:
    """A write-ahead log that is cut off at any byte gives the commits before that, and each of them as a whole."""
    journal = journal_of()
    journal.open(opening())
    for number in range(12):
        journal.commit(batch({f"t{number}": number, f"u{number}": number}))
    log = root / "run" / "journal.db-wal"
    files = {path: path.read_bytes() for path in (root / "run" / "journal.db", log)}
    journal.close()
    (root / "run" / "journal.db-shm").unlink(missing_ok=True)
    dice, counts, refused = random.Random(3), set(), [0]
    for size in sorted({0, len(files[log]), *(dice.randrange(len(files[log])) for _ in range(30))}):
        for path, content in files.items():
            path.write_bytes(content[:size] if path == log else content)
        (root / "run" / "journal.db-shm").unlink(missing_ok=True)
        try:
            count = readable(journal_of, opening)
        except JournalError:
            refused.append(size)
            continue
        assert count % 2 == 0
        counts.add(count)
    assert max(refused) < 20_000  # there the tables themselves are not in it yet
    assert 24 in counts
    assert len(counts) > 3


FORKS = """
import os, sys
from longshore.errors import JournalError
from longshore.records import CommitBatch, RunOpening, Settled, TaskKind
from longshore.task import Outcome, TaskState
from longshore_sqlite import SqliteJournal

def batch(name):
    outcome = Outcome(name, None, 0, "work", TaskState.COMPLETED, 1)
    return CommitBatch(run_id="run", settled=[Settled(TaskKind(name="work"), [outcome], [name])])

journal = SqliteJournal(SqliteJournal.Settings(path=sys.argv[1]))
journal.open(RunOpening(run_id="run", at=1.0))
journal.commit(batch("before"))
ready, tell = os.pipe()
pid = os.fork()
if not pid:
    try:
        journal.commit(batch("child"))
    except JournalError as error:
        os.write(tell, b"refused" if "not open" in str(error) or "belongs to" in str(error) else b"other")
    journal.close()
    sys.exit(0)
os.waitpid(pid, 0)
assert os.read(ready, 100) == b"refused"
journal.commit(batch("after"))
print("done", flush=True)
lasting = os.fork()
if not lasting:
    os.close(1)
    os.close(2)
    import time
    time.sleep(60)
    os._exit(0)
print(lasting, flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_leaves_the_journal_alone(root: Path, journal_of: Make, opening: Make, batch: Make) -> None:
    """A child may neither write nor close what it inherited; the parent goes on, and its lock ends with the parent."""
    done = subprocess.run(
        [sys.executable, "-c", FORKS, str(root)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    word, child = done.stdout.split()
    try:
        assert word == "done"
        journal = journal_of()
        recalled = journal.open(opening(resume=True))
        assert [entry.task_id for entry in recalled.tasks] == ["before", "after"]
        journal.close()
    finally:
        os.kill(int(child), 9)


MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:40 / /net rw - nfs4 server:/export rw
31 22 0:41 / /net/local rw - tmpfs tmpfs rw
32 22 0:42 / /with\\040blank rw - fuse.sshfs me@there:/ rw
33 22 0:43 / /over rw - overlay overlay rw,lowerdir=/l,upperdir=UPPER,workdir=/w
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me", "ext4"),
        ("/net/runs", "nfs4"),
        ("/network", "ext4"),
        ("/net/local/x", "tmpfs"),
        ("/with blank/x", "fuse.sshfs"),
    ],
)
def test_the_file_system_of_a_folder_is_known(tmp_path: Path, path: str, kind: str) -> None:
    """By the deepest mount above it."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert _place.file_system(Path(path), mounts) == kind


def test_a_network_file_system_has_no_write_ahead_log(
    journal_of: Make, opening: Make, batch: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the database is kept by a rollback journal that waits for the disk, and a person is told."""
    monkeypatch.setattr(_place, "file_system", lambda path: "nfs4")
    journal = journal_of()
    recalled = journal.open(opening())
    assert "network file system (nfs4)" in recalled.notes[0]
    assert journal._connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert journal._connection.execute("PRAGMA synchronous").fetchone() == (3,)
    journal.commit(batch({"a": 1}))
    journal.close()
    monkeypatch.undo()
    journal = journal_of()
    assert [entry.task_id for entry in journal.open(opening(resume=True)).tasks] == ["a"]
    journal.close()


def test_a_folder_of_others_is_refused(root: Path, journal_of: Make, opening: Make) -> None:
    """A folder that others may write to, or that is a link, is no place for a journal."""
    root.mkdir()
    root.chmod(0o777)
    with pytest.raises(JournalError, match="written to by other users"):
        journal_of().open(opening())
    root.chmod(0o700)
    (root.parent / "link").symlink_to(root)
    with pytest.raises(JournalError, match="links are not followed"):
        journal_of(path=str(root.parent / "link")).open(opening())
