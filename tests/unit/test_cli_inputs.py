"""Promises of what a command line means by its inputs."""

import io
import os
from pathlib import Path

import pytest
from longshore.cli.console import DASH, UsageError
from longshore.cli.inputs import Inputs, expand


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder the test works in, with a few files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("in/b.txt", "in/a.txt", "in/sub/c.txt", "in/.hidden"):
        (tmp_path / name).write_text(name)
    return tmp_path


def _expand(*arguments: str, stdin: bytes = b"", output: str | None = None) -> list[str]:
    return _found(*arguments, stdin=stdin, output=output).paths


def _found(*arguments: str, stdin: bytes = b"", output: str | None = None) -> Inputs:
    return expand(arguments, lambda: io.BytesIO(stdin), output)


def test_a_folder_means_every_file_below_it_sorted(here: Path) -> None:
    """Every regular file below a folder is an input, in one sorted order, named by the folder as it was given."""
    assert _expand("in") == ["in/.hidden", "in/a.txt", "in/b.txt", "in/sub/c.txt"]
    assert _expand("./in/sub/") == ["./in/sub/c.txt"]


def test_arguments_keep_their_order_and_count_once(here: Path) -> None:
    """Inputs come in the order given; one that is named twice is one input."""
    assert _expand("in/b.txt", "in/a.txt", "in/b.txt") == ["in/b.txt", "in/a.txt"]
    assert _expand("in/b.txt", "in") == ["in/b.txt", "in/.hidden", "in/a.txt", "in/sub/c.txt"]


def test_a_pattern_is_expanded_where_the_shell_did_not(here: Path) -> None:
    """Patterns work, with ** too; a file whose very name looks like one is itself."""
    assert _expand("in/*.txt") == ["in/a.txt", "in/b.txt"]
    assert _expand("in/**/*.txt") == ["in/a.txt", "in/b.txt", "in/sub/c.txt"]
    (here / "[x].txt").touch()
    assert _expand("[x].txt") == ["[x].txt"]


def test_names_come_from_stdin(here: Path) -> None:
    """A dash reads names from stdin, one a line: files and folders, empty lines aside."""
    assert _expand(DASH, stdin=b"in/b.txt\n\nin/sub\r\n") == ["in/b.txt", "in/sub/c.txt"]
    assert _expand(DASH) == []


def test_names_that_are_no_utf8_survive(here: Path) -> None:
    """A name of odd bytes is found in a folder and from stdin, and leads back to its file."""
    raw = b"in/odd-\xff\n.txt"
    Path(os.fsdecode(raw)).touch()
    assert os.fsencode(next(path for path in _expand("in") if "odd" in path)) == raw
    plain = b"in/odd-\xfe.txt"
    Path(os.fsdecode(plain)).touch()
    assert [os.fsencode(path) for path in _expand(DASH, stdin=plain + b"\n")] == [plain]


def test_a_circle_of_links_does_no_harm(here: Path) -> None:
    """A link to a folder above is not followed, one to a file is an input; dangling ones are counted, pipes are not."""
    (here / "in" / "loop").symlink_to(here / "in")
    (here / "in" / "link.txt").symlink_to(here / "in" / "a.txt")
    (here / "in" / "dangling").symlink_to(here / "nowhere")
    os.mkfifo(here / "in" / "pipe")
    assert _expand("in") == ["in/.hidden", "in/a.txt", "in/b.txt", "in/link.txt", "in/sub/c.txt"]
    assert _found("in", "in/sub", "in").dangling == 1
    assert _expand("in/loop/sub") == ["in/loop/sub/c.txt"]


def test_all_that_is_missing_is_named(here: Path) -> None:
    """What is named and is not there is an error that names each one; nothing is left out in silence."""
    (here / "in" / "dangling").symlink_to(here / "nowhere")
    with pytest.raises(UsageError) as caught:
        _expand("nowhere", "in", "*.pdf", "in/dangling")
    text = str(caught.value)
    assert "a link that leads nowhere: in/dangling" in text
    assert "no such file or folder: nowhere" in text
    assert "nothing matches: *.pdf" in text
    os.mkfifo(here / "pipe")
    with pytest.raises(UsageError, match="no regular file or folder: pipe"):
        _expand("pipe")


def test_names_on_stdin_that_are_no_files_are_set_apart(here: Path) -> None:
    """Of the names on stdin those that are not there, or no more, refuse no other; each comes with its reason."""
    (here / "in" / "dangling").symlink_to(here / "nowhere")
    os.mkfifo(here / "pipe")
    found = _found("in/a.txt", DASH, stdin=b"gone.txt\nin/b.txt\nin/dangling\npipe\n*.pdf\ngone.txt\n")
    assert found.paths == ["in/a.txt", "in/b.txt"]
    missing = dict.fromkeys(("gone.txt", "in/dangling", "*.pdf"), "missing")
    assert found.unusable == {**missing, "pipe": "no regular file"}
    with pytest.raises(UsageError, match="written over this input"):
        _found(DASH, stdin=b"in/a.txt\n", output="in/a.txt")


def test_the_output_is_no_input(here: Path) -> None:
    """Results written into the folder of inputs are not read as an input the next time."""
    (here / "in" / "out.jsonl").touch()
    assert "in/out.jsonl" not in _expand("in", output="in/out.jsonl")
    assert _expand("in/*.jsonl", "in/a.txt", output="in/../in/out.jsonl") == ["in/a.txt"]
    with pytest.raises(UsageError, match="written over this input"):
        _expand("in/a.txt", output="./in/a.txt")
