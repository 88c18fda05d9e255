"""Process workers can be started from wherever Python runs, and never run the program that started them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path
from typing import Any

import pytest
from longshore_processes.executor import ProcessesSettings

METHODS = ["zygote", "interpreter"]
SOME = ["zygote", pytest.param("interpreter", marks=pytest.mark.slow)]
WORKERS = 2
SCRIPT = """
    import os, sys
    import longshore

    print("main runs", flush=True)

    FACTOR = 3

    class Thing:
        def __init__(self, x):
            self.x = x

    def family(_):
        found = 0
        for pid in os.listdir("/proc"):
            if pid.isdigit():
                try:
                    with open(f"/proc/{pid}/environ", "rb") as file:
                        found += os.environ["TEST_TOKEN"].encode() in file.read()
                except OSError:
                    pass
        return found

    def work(x):
        return Thing(x * FACTOR)

    values = [o.unwrap().x for o in longshore.outcomes(work, range(20), executor="processes", ordered=True)]
    print(values == [x * 3 for x in range(20)], flush=True)
    print(max(longshore.map(family, range(20), executor="processes")), flush=True)
"""


def environment(method: str, token: str) -> dict[str, str]:
    return {
        **os.environ,
        "TEST_TOKEN": token,
        "LONGSHORE_EXECUTORS__PROCESSES__START_METHOD": method,
        "LONGSHORE_WORKERS__PROCESS_WORKERS": str(WORKERS),
    }


def ran(command: list[str], method: str, find_tokened: Any, given: str | None = None) -> list[str]:
    """Return the lines a program prints, which leaves nothing behind."""
    token = uuid.uuid4().hex
    done = subprocess.run(
        command,
        env=environment(method, token),
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert find_tokened(token) == []
    return done.stdout.splitlines()


def check(lines: list[str]) -> None:
    """Main ran once, functions and classes of it worked, and there were no processes but ours."""
    assert lines[:2] == ["main runs", "True"]
    assert int(lines[2]) <= 2 + WORKERS  # the program, what starts workers, and the workers
    assert len(lines) == 3


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_from_a_script_without_a_guard(tmp_path: Path, method: str, find_tokened: Any) -> None:
    """fault:O10 A script with no `__main__` guard runs once: workers never import it, and what it defines works."""
    script = tmp_path / "unguarded.py"
    script.write_text(textwrap.dedent(SCRIPT))
    check(ran([sys.executable, str(script)], method, find_tokened))


@pytest.mark.slow
@pytest.mark.parametrize("method", SOME)
def test_from_the_command_line(method: str, find_tokened: Any) -> None:
    """fault:O10 `python -c` has no file at all, and needs none."""
    check(ran([sys.executable, "-c", textwrap.dedent(SCRIPT)], method, find_tokened))


@pytest.mark.slow
@pytest.mark.parametrize("method", SOME)
def test_from_standard_input(method: str, find_tokened: Any) -> None:
    """fault:O10 A script that is piped into Python works, and workers read nothing of what comes after it."""
    check(ran([sys.executable, "-"], method, find_tokened, textwrap.dedent(SCRIPT)))


@pytest.mark.slow
@pytest.mark.parametrize("method", SOME)
def test_from_a_notebook(tmp_path: Path, method: str, find_tokened: Any) -> None:
    """fault:O10 Cells run in a `__main__` that has no file, inside of a running loop."""
    cells = tmp_path / "cells.py"
    cells.write_text(textwrap.dedent(SCRIPT))
    kernel = """
        import asyncio, sys, types
        main = types.ModuleType("__main__")
        source = open(sys.argv[1]).read()
        sys.modules["__main__"] = main

        async def run():
            exec(compile(source, "<cell 1>", "exec"), vars(main))

        asyncio.run(run())
    """
    check(ran([sys.executable, "-c", textwrap.dedent(kernel), str(cells)], method, find_tokened))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_from_a_module(tmp_path: Path, method: str, find_tokened: Any, monkeypatch: Any) -> None:
    """fault:O10 So does `python -m package`, whose main module workers must not import either."""
    package = tmp_path / "unguarded_package"
    package.mkdir()
    (package / "__main__.py").write_text(textwrap.dedent(SCRIPT))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    check(ran([sys.executable, "-m", "unguarded_package"], method, find_tokened))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_frozen_program_is_told_what_to_do(open_yard: Any, monkeypatch: Any, method: Any) -> None:
    """fault:O10 A program that is no interpreter would start itself again and again: that is refused."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(RuntimeError, match=r"executors\.processes\.python"), open_yard(1, ProcessesSettings()):
        pass
    with open_yard(1, ProcessesSettings(python=sys.executable, start_method=method)) as yard:
        assert yard.run(abs, [-1])[0].value == 1


def test_an_embedded_one_as_well(open_yard: Any, monkeypatch: Any) -> None:
    """Where Python is embedded and names no interpreter, the same is said."""
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(RuntimeError, match="this program is none"), open_yard(1):
        pass
