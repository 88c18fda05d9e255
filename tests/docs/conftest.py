"""The pages as their readers have them: the blocks of code in them, and a shell in which these are done as they stand.

A page is done from its top to its end in one empty folder, as a reader would: each line of an `sh` block in one shell;
each `python` block as a program, `example.py` unless its first line names another file, such as `# scales.py`; a file
whose name begins with `test_` by pytest; a block of another language that begins so is that file. A `text` block right
below is what it prints: `…` stands for anything, alone on a line for any lines. Of what a shell prints, ids of runs,
times and sizes may differ. A comment above a block says what else is to be known:

    <!-- not run: WHY -->       and nothing of it is
    <!-- goes on -->            it belongs to the end of the program above it; "goes on: FILE" of that one
    <!-- ends with: 0 1 -->     the exit codes of its lines, where one of them is not 0
    <!-- in any order -->       its lines may be printed in any order
    <!-- with stderr: TEXT -->  it writes that to standard error too, or anything without a TEXT; else that is a fault
    <!-- before: COMMANDS -->   what a shell does first; $ROOT is the repository
    <!-- prints: TEXT -->       below a block: what it prints, where the page does not show that
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE = re.compile(r"(?:#|//) ([\w./-]+\.\w+)\n")
VARYING = {
    r"\b\d{8}T\d{6}-[0-9a-f]{6}\b": "RUN",
    r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?[\d.+:Z]*": "DATE",
    r"\b\d[\d,.]*( ?(ms|us|µs|s|min|m|h|MB|GB|KiB|MiB|GiB|%|MB/s)(?!\w)|(?= a second))": "AMOUNT",
}


@dataclass
class Block:
    """A block of code, and what is said of it."""

    line: int
    language: str
    text: str
    notes: dict[str, str] = field(default_factory=dict)
    prints: str | None = None

    @property
    def file(self) -> str | None:
        """The file that it is, by its first line."""
        found = FILE.match(self.text)
        return found[1] if found else None


def blocks_of(page: Path) -> list[Block]:
    """Return all blocks of a page; what one prints is with it."""
    found: list[Block] = []
    text = page.read_text(encoding="utf-8")
    parts = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^ *```$|<!-- (.*?)-->|^\S[^\n]*$", re.MULTILINE | re.DOTALL)
    notes: dict[str, str] = {}
    below = False  # whether nothing but comments stands between the last block and here
    for part in parts.finditer(text):
        if part[4] is not None:
            name, _, said = part[4].strip().partition(":")
            if below and name == "prints":
                found[-1].prints = said.strip("\n") + "\n"
            notes[name] = said.strip()
        elif part[3] is not None:
            body = re.sub(rf"^{part[1]}", "", part[3], flags=re.MULTILINE)
            if part[2] == "text" and below and found[-1].language in ("python", "sh"):
                found[-1].prints = body
                found[-1].notes |= notes
            else:
                found.append(Block(text.count("\n", 0, part.start()) + 1, part[2], body, notes))
            notes, below = {}, True
        else:
            notes, below = {}, False
    return found


class Shell:
    """One bash, which is given one command after the other and tells how each ended."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        """Start it in that folder."""
        self.folder = folder
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def do(self, command: str) -> tuple[int, str]:
        """Return the exit code, and all that was printed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{{ {command}\n}} </dev/null\nended=$?; echo; echo ::ended $ended\n")
        self._process.stdin.flush()
        said: list[str] = []
        for line in self._process.stdout:
            if line.startswith("::ended "):
                return int(line.split()[1]), "".join(said).removesuffix("\n")
            said.append(line)
        raise AssertionError(f"the shell ended in {command!r}:\n{''.join(said)}")

    def close(self) -> None:
        """End it, and what it may still be waiting for."""
        self._process.kill()
        self._process.communicate()


@dataclass
class Reader:
    """Does what a page says, in a folder of its own."""

    shell: Shell
    last: str = ""
    steps: int = 0

    def follow(self, page: Path) -> None:
        """Do all of it; AssertionError names the line of the page where it is not so."""
        for block in blocks_of(page):
            if "before" in block.notes:
                for command in block.notes["before"].splitlines():
                    code, said = self.shell.do(command)
                    assert code == 0, f"{page.name}:{block.line}: {command}: {said}"
            if "not run" not in block.notes:
                try:
                    self.do(block)
                except AssertionError as error:
                    raise AssertionError(f"{page.relative_to(ROOT)}, line {block.line}: {error}") from None

    def do(self, block: Block) -> None:
        """Do one block, and compare what it prints."""
        if block.language == "sh":
            self._compare(block, "".join(self._commands(block)))
        elif block.language == "python":
            self._compare(block, self._program(block))
        elif block.file is not None:
            self._write(block.file, block.text)

    def _commands(self, block: Block) -> Iterator[str]:
        commands = list(commands_of(block.text))
        expected = [int(code) for code in block.notes.get("ends with", "").split()] or [0] * len(commands)
        assert len(expected) == len(commands), f"{len(commands)} commands, and {len(expected)} exit codes are said"
        for command, code in zip(commands, expected, strict=True):
            self.steps += 1
            ended, said = self.shell.do(command)
            assert ended == code, f"{command} ended with {ended}, not with {code}:\n{said}"
            yield said

    def _program(self, block: Block) -> str:
        name, text = block.file or "example.py", block.text
        if "goes on" in block.notes:
            name = block.notes["goes on"] or self.last
            text = (self.shell.folder / name).read_text(encoding="utf-8") + "\n" + text
        self.last = name
        self._write(name, text)
        self.steps += 1
        if Path(name).name.startswith("test_"):
            code, said = self.shell.do(f"python -m pytest -q -p no:cacheprovider {name}")
            assert code == 0, said
            return said
        code, said = self.shell.do(f"python -W error {name} 2>.stderr")
        told = (self.shell.folder / ".stderr").read_text(encoding="utf-8")
        assert code == 0, f"{name} ended with {code}:\n{said}{told}"
        wanted = block.notes.get("with stderr")
        assert wanted in told if wanted is not None else not told, f"{name} wrote to standard error:\n{told}"
        return said

    def _write(self, name: str, text: str) -> None:
        path = self.shell.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _compare(self, block: Block, said: str) -> None:
        if block.prints is None:
            return
        shown = block.prints
        if block.language == "sh":
            shown, said = varying(shown), varying(said)
        if "in any order" in block.notes:
            shown, said = (
                "".join(sorted(shown.splitlines(keepends=True))),
                "".join(sorted(said.splitlines(keepends=True))),
            )
        assert re.fullmatch(pattern_of(shown), said), f"it prints\n{said}\nand the page shows\n{shown}"


def commands_of(text: str) -> Iterator[str]:
    """Yield the commands of a block: its lines, those together that a backslash or an open quote joins."""
    command = ""
    for line in text.splitlines():
        command += line + "\n"
        with suppress(ValueError):  # a quotation that goes on
            shlex.split(command, comments=True)
            if command.strip() and not line.endswith("\\"):
                yield command.strip()
            command = command if line.endswith("\\") else ""
    assert not command.strip(), f"a command has no end: {command}"


def varying(text: str) -> str:
    """Return a text with the same word for what differs from run to run."""
    for pattern, word in VARYING.items():
        text = re.sub(pattern, word, text)
    return re.sub(r"[ \t]+", " ", re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE))


def pattern_of(shown: str) -> str:
    """Return the pattern of what may be printed, where this is shown."""
    lines = (r"(?:.*\n)*" if line == "…\n" else re.escape(line).replace("…", ".*") for line in shown.splitlines(True))
    return "".join(lines)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Return the environment of somebody who has just come: nothing set, nothing recorded, nothing coloured."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if name in ("LANG", "LD_LIBRARY_PATH", "TMPDIR")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    others = {f"LONGSHORE_LIMITS__{name}_CPU_PERCENT": "100" for name in ("MAX", "WARNING")}  # may use the machine too
    return {**kept, **others, "PATH": path, "HOME": str(home), "COLUMNS": "120", "LC_ALL": "C.UTF-8", "ROOT": str(ROOT)}


@pytest.fixture
def reader(tmp_path: Path, environ: dict[str, str]) -> Iterator[Reader]:
    """Return who does what a page says."""
    folder = tmp_path / "work"
    folder.mkdir()
    shell = Shell(folder, environ)
    yield Reader(shell)
    shell.close()


@pytest.fixture
def blocks() -> Callable[[Path], Sequence[Block]]:
    """Return what gives the blocks of a page."""
    return blocks_of
