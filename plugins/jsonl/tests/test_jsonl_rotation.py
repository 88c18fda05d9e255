"""Rotation by size: no line is lost or split, whatever goes on beside it."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from longshore_jsonl._file import AppendFile


def names(path: Path) -> list[str]:
    return sorted(one.name for one in path.parent.iterdir())


def lines(path: Path, keep: int) -> list[bytes]:
    """Return all lines, the oldest first."""
    files = [path.with_name(f"{path.name}.{n}") for n in range(keep, 0, -1)] + [path]
    return [line for one in files if one.exists() for line in one.read_bytes().splitlines(keepends=True)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def opened(path: Path, most_bytes: int = 100, keep: int = 3, **more: Any) -> AppendFile:
    return AppendFile(path, append=True, most_bytes=most_bytes, keep=keep, **more)


def test_a_file_that_is_full_is_moved_on(path: Path) -> None:
    """It becomes .1, that .2, and so on; what would be beyond `keep` goes."""
    with opened(path, 10, 2) as file:
        for n in range(5):
            file.write(b"line %d..\n" % n)
    assert names(path) == ["events.jsonl", "events.jsonl.1", "events.jsonl.2"]
    assert lines(path, 2) == [b"line 2..\n", b"line 3..\n", b"line 4..\n"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=6), max_size=6), st.integers(1, 120))
def test_no_line_is_lost_or_split(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]], most: int
) -> None:
    """However long lines are and come together, each stands once, whole, in order; no file of several is too large."""
    path = tmp_path_factory.mktemp("rotation") / "events.jsonl"
    written: list[bytes] = []
    with opened(path, most, 40) as file:
        for batch in batches:
            some = [b"%d:" % (len(written) + n) + b"x" * size + b"\n" for n, size in enumerate(batch)]
            written += some
            file.write(b"".join(some))
    assert lines(path, 40) == written
    for one in path.parent.iterdir():
        data = one.read_bytes()
        assert len(data) <= most or data.count(b"\n") == 1


def test_a_torn_end_stays_behind(path: Path) -> None:
    """What a killed run left half written goes with its file, or is sealed; it never becomes a part of a line."""
    path.write_bytes(b"x" * 95 + b"\n" + b'{"to')
    with opened(path) as file:
        file.write(b"new\n")
    assert path.read_bytes() == b"new\n"
    path.write_bytes(b'{"to')
    with opened(path) as file:
        file.write(b"new\n")
    assert path.read_bytes() == b'{"to\nnew\n'


def test_where_it_cannot_be_moved_it_grows_on(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A name that is taken by a folder costs no line: that is logged, and tried again when it has grown as much."""
    taken = path.with_name("events.jsonl.1")
    (taken / "full").mkdir(parents=True)
    with opened(path, 20, 1) as file, caplog.at_level(logging.WARNING, "longshore.jsonl"):
        for n in range(4):
            file.write(b"line %d..\n" % n)
        assert path.read_bytes() == b"line 0..\nline 1..\nline 2..\nline 3..\n"
        assert caplog.text.count("is not rotated") == 1
        (taken / "full").rmdir()
        taken.rmdir()
        file.write(b"line 4..\n")
    assert path.read_bytes() == b"line 4..\n"
    assert lines(path, 1) == [b"line %d..\n" % n for n in range(5)]


def test_somebody_else_may_rotate_as_well(path: Path) -> None:
    """Two that write to one file each follow when the other has moved it away; nothing is lost."""
    with opened(path, 40, 50) as one, opened(path, 40, 50) as other:
        for n in range(30):
            (one if n % 2 else other).write(b"line %02d\n" % n)
    assert lines(path, 50) == [b"line %02d\n" % n for n in range(30)]


def test_without_a_size_a_batch_is_one_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotation costs nothing where it is not wanted, and one write where a batch has room."""
    writes: list[int] = []
    write = os.write

    def counted(descriptor: int, data: bytes) -> int:
        writes.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", counted)
    for most_bytes in (None, 10_000):
        with AppendFile(path, append=True, most_bytes=most_bytes) as file:
            file.write(b'{"a":1}\n' * 100)
    assert writes == [800, 800]
    assert all(json.loads(line) == {"a": 1} for line in lines(path, 0))
