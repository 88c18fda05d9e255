"""Promises of shell completion: what a shell offers after the script is installed."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from longshore.cli import _told, run_command

DEADLINE_S = 30.0
SHELLS = {
    "bash": ("bash", "--norc", "--noprofile", "-i"),
    "zsh": ("zsh", "-f", "-i"),
    "fish": ("fish", "--no-config", "-i"),
}
READY = {
    "bash": "source {script}\n",
    "zsh": "fpath=({folder} $fpath); autoload -Uz compinit && compinit -u -D\n",
    "fish": "source {script}\n",
}
NAMES = {"bash": "longshore", "zsh": "_cyclopts_longshore", "fish": "longshore.fish"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a way to install the script of a shell, once."""
    folder = tmp_path_factory.mktemp("completions")

    def install(shell: str) -> Path:
        script = folder / NAMES[shell]
        if not script.exists():
            command = ["-m", "longshore", "--install-completion", "--shell", shell, "--output", str(script)]
            done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=50, check=True)
            assert str(script) in done.stdout
        return script

    return install


def offered(script: Path, *words: str) -> list[str]:
    """Return what bash offers in place of the last word."""
    code = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _longshore; printf "%s\\n" "${COMPREPLY[@]}"'
    command = ["bash", "--norc", "-c", code, "bash", str(script), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.split()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("longshore", "ru"), {"run", "runs"}),
        (("longshore", "plugins", ""), {"list", "info", "check", "new"}),
        (("longshore", "run", "--max"), {"--max-failures"}),
        (("longshore", "config", "show", "--o"), {"--origin"}),
        (("longshore", "run", "--progress", "li"), {"live", "lines"}),
        (("longshore", "run", "--order", "=", "l"), {"largest-first"}),
        (("longshore", "resume", "last", "--executor", "t"), {"threads"}),
        (("longshore", "bench", "--executor", "p"), {"processes"}),
        (("longshore", "runs", "prune", "--state", "s"), {"stopped"}),
        (("longshore", "plugins", "list", "pro"), {"probes", "processors"}),
    ],
)
def test_bash_offers(installed: Callable[[str], Path], words: Sequence[str], expected: set[str]) -> None:
    """Commands, the commands below them, options, and the values of an option that has few."""
    assert set(offered(installed("bash"), *words)) == expected


@pytest.mark.slow
def test_nothing_but_the_script_is_written(tmp_path: Path) -> None:
    """Without `--output` the script goes to where bash-completion looks, and no start-up file is touched."""
    command = [sys.executable, "-m", "longshore", "--install-completion", "--shell", "bash"]
    environment = {**os.environ, "HOME": str(tmp_path)}
    subprocess.run(command, env=environment, capture_output=True, timeout=50, check=True)
    written = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in written if not path.startswith(".cache/")] == [
        ".local/share/bash-completion/completions/longshore"
    ]


class Terminal:
    """An interactive shell at a terminal of its own."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        """Start it, with `folder` for its home."""
        self.seen = ""
        self.process, self.master = self._start(command, folder)

    def _start(self, command: Sequence[str], folder: Path) -> tuple[subprocess.Popen[bytes], int]:
        master, slave = pty.openpty()
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        environment = {**kept, "HOME": str(folder), "TERM": "xterm", "PS1": "> "}
        own = ["setsid", "--ctty", *command]  # a shell reads keys only at a terminal that is its own
        process = subprocess.Popen(own, stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=folder)
        os.close(slave)
        return process, master

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self.master, text.encode())

    def expect(self, text: str) -> None:
        """Wait until the shell has shown a text since the last time, with a deadline."""
        deadline = time.monotonic() + DEADLINE_S
        while text not in self.seen:
            assert time.monotonic() < deadline, f"no {text!r} in {self.seen!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 65536).decode(errors="replace")
        self.seen = self.seen.partition(text)[2]

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_at_its_prompt(shell: str, installed: Callable[[str], Path], tmp_path: Path) -> None:
    """Half a command and half an option are made whole by the tab key, in a real shell at a terminal."""
    if shutil.which(shell) is None or shutil.which("setsid") is None:
        pytest.skip(f"{shell}, or setsid, is not installed here")
    script = installed(shell)
    terminal = Terminal(SHELLS[shell], tmp_path)
    try:
        terminal.type(READY[shell].format(script=script, folder=script.parent))
        terminal.type("echo rea''dy\n")
        terminal.expect("ready\r\n")
        terminal.type("longshore docto\t")
        terminal.expect("doctor")
        terminal.type("\x15longshore run --max-f\t")  # after the key that takes a line back
        terminal.expect("ailures")
        if shell == "bash":  # whose script has to say that it is to go on with files
            (tmp_path / "papers.txt").touch()
            terminal.type("\x15longshore run job:size -o out.jsonl pap\t")
            terminal.expect("ers.txt")
    finally:
        terminal.close()


@pytest.mark.parametrize(("place", "why"), [("", "Is a directory"), ("file/script", "File exists")])
def test_a_script_that_cannot_be_written_is_told_in_one_line(
    place: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder, or a place that can't be there, is what was given: no traceback, and exit code 2."""
    (tmp_path / "file").touch()
    output = str(tmp_path / place)
    assert run_command(["--install-completion", "--shell", "bash", "--output", output]) == 2
    told = capsys.readouterr().err
    assert told == f"longshore: cannot write {output}: {why}; name a file by --output\n"


def test_a_file_that_was_named_is_no_fault_of_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the system says of a path among the arguments is told in one line; of any other it is a fault."""
    given = ["run", "job:size", f"--output={tmp_path}"]
    error = PermissionError(13, "Permission denied", str(tmp_path / "below"))
    assert _told(error, given) == 2
    assert capsys.readouterr().err == f"longshore: {tmp_path / 'below'}: Permission denied\n"
    assert _told(PermissionError(13, "Permission denied", "/else"), given) == 4
    assert "this is a fault" in capsys.readouterr().err
