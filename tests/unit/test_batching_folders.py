"""Files that are not found by workers in another folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from longshore.batching.folders import working_folder
from longshore.batching.running import _failure
from longshore.batching.words import FAILED, Record
from longshore.errors import DocumentError
from support.desk import Desk

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deadline")]


async def warnings_of(caplog: pytest.LogCaptureFixture, folder: str, error: BaseException) -> list[str]:
    """Return what is logged as two tasks fail with an error in a worker of this folder."""
    desk = Desk()
    station = desk.crew.add("a")
    station.hello = station.hello._replace(folder=folder)
    for number in range(2):
        desk.take(1)
        (await desk.given(number)).ends(Record(FAILED, 0.0, 0.0, None, _failure(error, 1, "here-a")))
        await desk.ended(number + 1)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file", "b"), DocumentError("b", reason="unreadable")])
async def test_a_file_that_is_not_found_elsewhere(caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    """It is said once, with both folders and what to do."""
    (said,) = await warnings_of(caplog, "/else/where", error)
    assert "the Here worker a, which is in the folder /else/where" in said
    assert f"this program is in {working_folder()}: relative paths mean other files there" in said
    assert "give absolute paths" in said


async def test_what_has_other_causes(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is said of other failures, of workers in the same folder, or of those that do not tell theirs."""
    for error in (ValueError("no"), DocumentError("b", reason="encrypted")):
        assert await warnings_of(caplog, "/else/where", error) == []
    for folder in (working_folder(), ""):
        assert await warnings_of(caplog, folder, FileNotFoundError("a")) == []


async def test_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process whose folder was removed knows none."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert working_folder() == ""
