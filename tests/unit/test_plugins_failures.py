"""The record of last failures is a hint: never in the way, never wrong about another version."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from longshore._plugins.failures import FailureFile
from longshore._plugins.records import Candidate
from msgspec.structs import replace

CANDIDATE = Candidate(kind="sinks", name="acme", distribution="acme", version="1.0", value="m:C", reason="it fell over")


def test_a_failure_is_found_again_until_it_is_cleared(tmp_path: Path) -> None:
    """What was recorded is told by any later host, until the plugin loads."""
    path = tmp_path / "state" / "plugin-failures.json"
    FailureFile(path).record(CANDIDATE)
    later = FailureFile(path)
    assert later.reason(CANDIDATE, later.read()) == "it fell over"
    later.clear(CANDIDATE)
    assert later.reason(CANDIDATE, later.read()) is None


def test_another_version_has_a_clean_slate(tmp_path: Path) -> None:
    """After an upgrade, the failure of the old version is not held against the new one."""
    file = FailureFile(tmp_path / "f.json")
    file.record(CANDIDATE)
    assert file.reason(replace(CANDIDATE, version="1.1"), file.read()) is None


def test_the_file_is_private_and_no_temporary_file_is_left(tmp_path: Path) -> None:
    """Tracebacks can hold names of people's files, so only the user may read them."""
    path = tmp_path / "f.json"
    FailureFile(path).record(CANDIDATE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["f.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"a": 3}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a": {"reason": "", "version": "' + b"x" * 2_000_000 + b'"}}',
    ],
)
def test_a_broken_file_counts_as_empty_and_is_replaced(tmp_path: Path, content: bytes) -> None:
    """Whatever is in the file, reading goes on and the next failure mends it."""
    path = tmp_path / "f.json"
    path.write_bytes(content)
    file = FailureFile(path)
    assert file.read() == {}
    file.record(CANDIDATE)
    assert len(json.loads(path.read_text())) == 1


def test_a_place_that_cannot_be_written_is_passed_over(tmp_path: Path) -> None:
    """Failing to remember is never an error."""
    (tmp_path / "blocked").write_text("a file where the folder should be")
    file = FailureFile(tmp_path / "blocked" / "f.json")
    file.record(CANDIDATE)
    assert file.read() == {}


def test_without_a_path_nothing_is_kept() -> None:
    """A host told to keep no record touches no disk."""
    file = FailureFile(None)
    file.record(CANDIDATE)
    file.clear(CANDIDATE)
    assert file.read() == {}
