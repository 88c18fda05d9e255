"""Fingerprints of input files: content, and when it need not be read again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from longshore._canonical import NoIdentity, canonical
from longshore._fingerprints import GRANULARITY_NS, Fingerprint, fingerprint, is_same


def later(path: Path) -> int:
    """Return a moment long after the file was changed last."""
    found = os.stat(path)
    return max(found.st_mtime_ns, found.st_ctime_ns) + GRANULARITY_NS + 1


def taken(path: Path, known: Fingerprint | None = None, now_ns: int | None = None) -> Fingerprint:
    return fingerprint(path, known, clock_ns=lambda: later(path) if now_ns is None else now_ns)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "in.txt"
    path.write_text("one")
    return path


def test_content_counts_and_the_name_does_not(file: Path) -> None:
    """A copy under another name is the same to a task; a byte more or less is not."""
    copy = file.with_name("copy.txt")
    copy.write_text("one")
    edited = file.with_name("edited.txt")
    edited.write_text("two")
    assert canonical(taken(file)) == canonical(taken(copy)) != canonical(taken(edited))


def test_an_old_file_that_stands_still_is_not_read_again(file: Path) -> None:
    """Same size, times and inode, and no change near the moment of the reading: what is known is returned."""
    known = taken(file)
    assert taken(file, known) is known
    assert is_same(file, known)


def test_a_file_that_changed_just_before_it_was_read_is_read_again(file: Path) -> None:
    """A write within the same step of the clock leaves size and times as they are: it is found all the same."""
    found = os.stat(file)
    known = taken(file, now_ns=max(found.st_mtime_ns, found.st_ctime_ns) + GRANULARITY_NS)
    file.write_text("two")
    now = os.stat(file)
    racy = Fingerprint(3, known.digest, now.st_mtime_ns, now.st_ctime_ns, now.st_ino, known.read_ns)
    assert taken(file, racy).digest != known.digest
    assert not is_same(file, racy)


def test_times_that_were_set_back_deceive_nobody(file: Path) -> None:
    """An edit of the same size under the old modification time, as `touch -r` or an archive leaves it, is found."""
    known, before = taken(file), os.stat(file)
    file.write_text("two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert taken(file, known).digest != known.digest
    assert not is_same(file, known)


def test_a_file_that_was_put_in_its_place_is_read(file: Path) -> None:
    """Another inode leaves a doubt, and the content decides."""
    known = taken(file)
    file.with_name("new").write_text("one")
    file.with_name("new").replace(file)
    assert taken(file, known) is not known
    assert is_same(file, known)


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
