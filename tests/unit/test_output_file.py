"""Output files: whole under their name, or not there; with and without files that have no name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from longshore import _output_file
from longshore._output_file import output_file


def nothing() -> None:
    """Have nothing against it."""


def out(
    path: Path, mode: Any = "wb", encoding: str | None = None, newline: str | None = None, check: Any = nothing
) -> Any:
    return output_file(path, mode, encoding, newline, check)


def write_half(path: Path, error: type[BaseException]) -> None:
    with out(path) as file:
        file.write(b"half")
        raise error


@pytest.fixture(params=["unnamed", "named"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Both ways of keeping a file from its name; the second as on a file system that knows only this one."""
    if request.param == "named":
        monkeypatch.setattr(_output_file, "_unnamed", lambda folder: None)
    elif _output_file._unnamed(str(tmp_path)) is None:
        pytest.skip("this file system has no files without a name")
    return str(request.param)


@pytest.mark.usefixtures("way")
def test_a_file_comes_whole_at_the_end_of_its_block(tmp_path: Path) -> None:
    """Until then what was there stays; afterwards nothing else is in the folder."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with out(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_a_block_that_raises_leaves_everything_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    """Neither a new file nor a part of one, whatever is raised."""
    for path, before in ((tmp_path / "new", None), (tmp_path / "old", b"old")):
        if before is not None:
            path.write_bytes(before)
        with pytest.raises(error):
            write_half(path, error)
        assert (path.read_bytes() if path.exists() else None) == before
    assert os.listdir(tmp_path) == ["old"]


@pytest.mark.usefixtures("way")
def test_what_is_refused_at_the_end_does_not_come(tmp_path: Path) -> None:
    """An attempt that is over by then writes nothing under the name."""

    def refuse() -> None:
        raise RuntimeError("over")

    with pytest.raises(RuntimeError), out(tmp_path / "a", check=refuse) as file:
        file.write(b"late")
    assert os.listdir(tmp_path) == []


def test_text_is_utf_8_unless_said_otherwise(tmp_path: Path) -> None:
    """Whatever the locale; line ends as `open` has them."""
    with out(tmp_path / "a", "w") as file:
        file.write("é\n")
    with out(tmp_path / "b", "w", encoding="latin-1", newline="\r\n") as file:
        file.write("é\n")
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()) == ("é\n".encode(), b"\xe9\r\n")
    with pytest.raises(ValueError, match='mode is "w" or "wb"'), out(tmp_path / "c", "a"):
        pass


@pytest.mark.usefixtures("way")
def test_a_file_may_be_closed_in_its_block(tmp_path: Path) -> None:
    """Libraries close what they are given; it comes all the same."""
    with out(tmp_path / "a") as file:
        file.write(b"all")
        file.close()
    assert (tmp_path / "a").read_bytes() == b"all"


@pytest.mark.usefixtures("way")
def test_who_may_read_it_is_as_usual(tmp_path: Path) -> None:
    """A new file has the rights of any new file; one that takes the place of another has those of that one."""
    before = os.umask(0o027)
    try:
        with out(tmp_path / "new"):
            pass
        (tmp_path / "secret").touch(0o600)
        with out(tmp_path / "secret"):
            pass
    finally:
        os.umask(before)
    assert [os.stat(tmp_path / name).st_mode & 0o777 for name in ("new", "secret")] == [0o640, 0o600]


@pytest.mark.usefixtures("way")
def test_a_link_stays_and_leads_to_the_new_file(tmp_path: Path) -> None:
    """What it leads to is replaced, in the folder where that is."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real/a")
    with out(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real/a").read_bytes() == b"new"


@pytest.mark.usefixtures("way")
def test_two_writers_of_one_path_do_not_meet(tmp_path: Path) -> None:
    """Each has a file of its own; the one that ends last stays, whole."""
    with out(tmp_path / "a") as first, out(tmp_path / "a") as second:
        first.write(b"first")
        second.write(b"second, and longer")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.usefixtures("way")
def test_the_longest_names_there_are_will_do(tmp_path: Path) -> None:
    """What stands beside a file of 255 bytes has room for its name."""
    for name in ("a" * 255, "é" * 127):
        with out(tmp_path / name) as file:
            file.write(b"x")
    assert len(os.listdir(tmp_path)) == 2


@pytest.mark.usefixtures("way")
def test_what_can_not_be_written_is_said_as_by_open(tmp_path: Path) -> None:
    """No such folder; a folder in its place: and nothing is left."""
    with pytest.raises(FileNotFoundError), out(tmp_path / "none/a"):
        pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError), out(tmp_path / "folder") as file:
        file.write(b"x")
    assert os.listdir(tmp_path) == ["folder"]


KILLED = """
import os, sys
from longshore import _output_file
if sys.argv[2] == "named":
    _output_file._unnamed = lambda folder: None
if sys.argv[3] == "at the end":
    os.replace = lambda *a: os.kill(os.getpid(), 9)
with _output_file.output_file(sys.argv[1], "wb", None, None, lambda: None) as file:
    file.write(b"half")
    file.flush()
    if sys.argv[3] == "in the middle":
        os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("moment", ["in the middle", "at the end"])
def test_what_a_killed_writer_left_is_removed_by_the_next(way: str, tmp_path: Path, moment: str) -> None:
    """Nothing under the name after the kill; nothing but the file after the next attempt, while others write on."""
    path = tmp_path / "a"
    with out(path) as other:
        done = subprocess.run([sys.executable, "-c", KILLED, path, way, moment], timeout=50, check=False)
        assert done.returncode == -9
        assert not path.exists()
        if way == "unnamed" and moment == "in the middle":
            assert os.listdir(tmp_path) == []
        with out(path) as file:
            file.write(b"whole")
        assert path.read_bytes() == b"whole"
        other.write(b"later")
    assert path.read_bytes() == b"later"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", ["pipe", "link"])
def test_what_is_no_file_is_left_as_it_is(tmp_path: Path, name: str) -> None:
    """A pipe, or a device, or a link to one is refused by name before anything is written, and stays."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    before = os.stat(tmp_path / "pipe")
    with pytest.raises(OSError, match=r"takes the place of a file, and this is none: .*pipe"), out(tmp_path / name):
        pytest.fail("it was opened")
    assert os.stat(tmp_path / "pipe") == before
    assert set(os.listdir(tmp_path)) == {"pipe", "link"}
