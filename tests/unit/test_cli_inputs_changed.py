"""What is recorded of an input as a run begins, and whether it has changed when the run goes on."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from longshore._fingerprints import GRANULARITY_NS
from longshore.cli.recorded import Allowance, InputRecord
from longshore.testing import FakeClock
from support.waiting import wait_until


def later(path: Path) -> int:
    """Return a moment long after the file was changed last."""
    found = os.stat(path)
    return max(found.st_mtime_ns, found.st_ctime_ns) + GRANULARITY_NS + 1


def recorded(path: Path, allowance: Allowance, now_ns: int | None = None) -> InputRecord:
    """Record an input, and return it as it is read back."""
    record = InputRecord.of(str(path), allowance, clock_ns=lambda: later(path) if now_ns is None else now_ns)
    return msgspec.convert(msgspec.to_builtins(record), InputRecord)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "in.txt"
    path.write_text("one")
    return path


def spent() -> Allowance:
    clock = FakeClock()
    allowance = Allowance(clock.monotonic)
    clock.advance(1.0)
    return allowance


def edited(path: Path, content: str) -> None:
    """Write the file anew, set its modification time back, and see to it that a step of the clock lies between."""
    before = os.stat(path)

    def has_moved() -> bool:
        path.write_text(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        return os.stat(path).st_ctime_ns != before.st_ctime_ns

    wait_until(has_moved, "a step of the clock")


def test_an_old_input_goes_by_its_content(file: Path) -> None:
    """Replaced by one of the same size and time it has changed; with other rights, or a new time, it has not."""
    record = recorded(file, Allowance())
    assert not record.has_changed()
    file.chmod(0o600)
    os.utime(file, ns=(0, 0))
    assert not record.has_changed()
    edited(file, "two")
    assert record.has_changed()


def test_without_time_to_read_it_goes_by_both_times(file: Path) -> None:
    """What could not be read as the run began counts as changed in doubt: at worst it runs once more."""
    record = recorded(file, spent())
    assert record.file is not None
    assert record.file.digest is None
    assert not record.has_changed()
    edited(file, "two")
    assert record.has_changed()


def test_a_young_input_is_read_in_any_case(file: Path) -> None:
    """Its times do not tell it from one that is written a moment later."""
    record = recorded(file, spent(), now_ns=os.stat(file).st_ctime_ns)
    assert record.file is not None
    assert record.file.digest is not None
    edited(file, "one")
    assert not record.has_changed()


def test_a_large_input_is_not_read(file: Path) -> None:
    """No run begins late for the sake of one file."""
    os.truncate(file, 1 << 29)
    record = recorded(file, Allowance())
    assert (record.size, record.file and record.file.digest) == (1 << 29, None)
    os.truncate(file, 3)
    assert record.has_changed()


def test_what_is_gone_has_not_changed_and_what_has_come_has(file: Path) -> None:
    """One that is gone keeps its result; one that was none, and is there now, is looked at."""
    record = recorded(file, Allowance())
    file.unlink()
    assert not record.has_changed()
    none = InputRecord.of(str(file), Allowance())
    assert not none.has_changed()
    file.write_text("one")
    assert none.has_changed()
