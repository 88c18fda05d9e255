"""Fingerprints of input files: when one is the same, and when its content need not be read for that."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from longshore._canonical import NoIdentity
from longshore._fingerprints import GRANULARITY_NS, Fingerprint, fingerprint, glimpse, is_same
from msgspec.structs import replace
from support.waiting import wait_until


def later(path: Path) -> int:
    """Return a moment long after the file was changed last."""
    found = os.stat(path)
    return max(found.st_mtime_ns, found.st_ctime_ns) + GRANULARITY_NS + 1


def taken(path: Path, now_ns: int | None = None) -> Fingerprint:
    return fingerprint(path, clock_ns=lambda: later(path) if now_ns is None else now_ns)


def glimpsed(path: Path) -> Fingerprint:
    return glimpse(path, clock_ns=lambda: later(path))


def replaced(path: Path, content: str, how: str) -> None:
    """Put another file of the same modification time in the place of `path`, as `cp -p` or `mv` does."""
    before, other = os.stat(path), path.with_name("other")

    def has_moved() -> bool:
        other.write_text(content)
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        (shutil.copy2 if how == "cp -p" else shutil.move)(other, path)
        return os.stat(path).st_ctime_ns != before.st_ctime_ns

    wait_until(has_moved, "a step of the clock")
    assert os.stat(path).st_mtime_ns == before.st_mtime_ns


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "in.txt"
    path.write_text("one")
    return path


def test_an_old_file_that_stands_still_is_not_read_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same size, times and inode, and no change near the moment it was seen: it is the same, whether read or not."""
    known = taken(file), glimpsed(file)
    monkeypatch.setattr("longshore._fingerprints.fingerprint", lambda path: pytest.fail(f"{path} was read"))
    assert [is_same(file, one) for one in known] == [True, True]


def test_a_file_that_changed_just_before_it_was_read_is_read_again(file: Path) -> None:
    """A write within the same step of the clock leaves size and times as they are: it is found all the same."""
    found = os.stat(file)
    known = taken(file, now_ns=max(found.st_mtime_ns, found.st_ctime_ns) + GRANULARITY_NS)
    assert not known.settled
    file.write_text("two")
    now = os.stat(file)
    racy = Fingerprint(3, now.st_mtime_ns, now.st_ctime_ns, now.st_ino, known.seen_ns, known.digest)
    assert not is_same(file, racy)


def test_times_that_were_set_back_deceive_nobody(file: Path) -> None:
    """An edit of the same size under the old modification time, as `touch -r` or an archive leaves it, is found."""
    known, seen, before = taken(file), glimpsed(file), os.stat(file)

    def has_moved() -> bool:
        file.write_text("two")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        return os.stat(file).st_ctime_ns != before.st_ctime_ns

    wait_until(has_moved, "a step of the clock")
    assert not is_same(file, known)
    assert not is_same(file, seen)


@pytest.mark.parametrize("how", ["cp -p", "mv"])
def test_a_file_that_was_put_in_its_place_is_read(file: Path, how: str) -> None:
    """Of the same size and modification time: the content decides, and where that was never read, it is another."""
    known, seen = taken(file), glimpsed(file)
    replaced(file, "one", how)
    assert is_same(file, known)
    assert not is_same(file, seen)
    replaced(file, "two", how)
    assert not is_same(file, known)
    assert not is_same(file, seen)


def test_what_leaves_the_content_alone_is_no_change(file: Path) -> None:
    """Other rights, another name beside it, a new time: the content is the same, where it was read."""
    known = taken(file)
    file.chmod(0o640)
    os.link(file, file.with_name("link"))
    os.utime(file, ns=(0, 0))
    assert is_same(file, known)


def test_another_inode_alone_is_no_other_file(file: Path) -> None:
    """Some file systems number their files anew with each mount; nobody can set the time of the inode's change."""
    for known in (taken(file), glimpsed(file)):
        assert is_same(file, replace(known, inode=known.inode + 1))


def test_another_size_is_another_file_without_reading(file: Path) -> None:
    """Even where it could not be read at all."""
    known = taken(file)
    file.write_text("one and more")
    file.chmod(0)
    assert not is_same(file, known)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A folder, a pipe, a device: nothing hangs, and the reason is said."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(NoIdentity, match="no regular file"):
            fingerprint(path)
        with pytest.raises(NoIdentity, match="no regular file"):
            glimpse(path)
    with pytest.raises(FileNotFoundError):
        fingerprint(tmp_path / "none")


def test_a_file_that_changes_while_it_is_read_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of one content and half of another is neither's fingerprint."""
    whole = os.fstat

    def grown(descriptor: int) -> os.stat_result:
        with file.open("a") as at_its_end:
            at_its_end.write("more")
        return whole(descriptor)

    monkeypatch.setattr("longshore._fingerprints.os.fstat", grown)
    with pytest.raises(NoIdentity, match="being written"):
        fingerprint(file)
