"""A `PoolExecutor` in a script: what its initializer and its functions share in a process, and what they see of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

DEADLINE_S = 60.0
HEAD = """
    import os, sys
    from longshore import PoolExecutor, Settings
    PLAIN = Settings(probes=())
"""


def run(tmp_path: Path, text: str, *arguments: str) -> list[str]:
    """Run a script of its own; return the lines it printed."""
    script = tmp_path / "script.py"
    script.write_text(dedent(HEAD) + dedent(text))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), *arguments], capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


GLOBALS = """
    settings, calls, model = {}, [], None

    def init(word):
        global model, late
        model, late = word, word * 2
        settings["word"] = word
        calls.append(os.getpid())

    def bound(_):
        return model

    def made(_):
        return late

    def changed(_):
        return settings["word"], len(calls)

    def helped(_):
        return bound(0), made(0)

    class Model:
        def __init__(self, number):
            self.number = number

        def read(self, number):
            return model, late, self.number, number
"""


@pytest.mark.slow
def test_functions_see_what_the_initializer_set(tmp_path: Path) -> None:
    """Names bound anew or for the first time, objects changed in place; in every function, and by one call of it.

    Also functions that come as arguments, methods of the script's classes, and functions made in a call.
    """
    said = run(
        tmp_path,
        GLOBALS
        + """
    def call(function):
        return function(0)

    if __name__ == "__main__":
        with PoolExecutor(2, executor="processes", initializer=init, initargs=("w",), settings=PLAIN) as executor:
            for function in (bound, made, changed, helped, lambda _: (model, late)):
                print({*executor.map(function, range(20))})
            print(executor.submit(call, made).result(), executor.submit(Model(3).read, 4).result())
            print(executor.submit(call, Model(5).read).result())
    """,
    )
    assert said == [
        "{'w'}",
        "{'ww'}",
        "{('w', 1)}",
        "{('w', 'ww')}",
        "{('w', 'ww')}",
        "ww ('w', 'ww', 3, 4)",
        "('w', 'ww', 5, 0)",
    ]


@pytest.mark.slow
def test_what_the_script_binds_anew_reaches_workers(tmp_path: Path) -> None:
    """What the script rebinds comes with the next function; what a worker has bound by itself stays as it is there."""
    said = run(
        tmp_path,
        GLOBALS
        + """
    scale = 1

    def scaled(number):
        return number * scale, model

    def scaled_too(number):
        return number * scale, model

    with PoolExecutor(1, executor="processes", initializer=init, initargs=("w",), settings=PLAIN) as executor:
        print(executor.submit(scaled, 1).result())
        scale, model = 10, "of the script"
        print(executor.submit(scaled_too, 1).result())
    """,
    )
    assert said == ["(1, 'w')", "(10, 'w')"]


@pytest.mark.slow
def test_functions_of_a_pool_share_with_their_initializer(tmp_path: Path) -> None:
    """The same holds for the option `initializer`, which is called once in a worker, whatever functions there are."""
    said = run(
        tmp_path,
        """
    import asyncio, longshore
    calls = []

    def init():
        calls.append(os.getpid())

    def first(_):
        return len(calls)

    def second(_):
        return len(calls) * 10

    async def main():
        config = longshore.WorkerConfig(process_workers=1)
        async with longshore.WorkerPool(config, settings=PLAIN) as pool:
            ready = pool.options(executor="processes", initializer=init)
            print([await (await ready.submit(function, 0)) for function in (first, second, first)])

    asyncio.run(main())
    """,
    )
    assert said == ["[1, 10, 1]"]


@pytest.mark.slow
def test_a_script_without_a_guard_runs_once(tmp_path: Path) -> None:
    """No process runs the script again: functions travel, and what they name of it."""
    said = run(
        tmp_path,
        GLOBALS
        + """
    print("begun", flush=True)
    with PoolExecutor(2, executor="processes", initializer=init, initargs=("w",), settings=PLAIN) as executor:
        print({*executor.map(bound, range(10))})
    """,
    )
    assert said == ["begun", "{'w'}"]


@pytest.mark.slow
@pytest.mark.parametrize("start_method", ["zygote", pytest.param("interpreter", marks=pytest.mark.slow)])
def test_a_process_has_the_arguments_of_the_program(tmp_path: Path, start_method: str) -> None:
    """In a worker `sys.argv` is what the program was called with, whatever is in it."""
    said = run(
        tmp_path,
        f"""
    chosen = Settings(probes=(), executors={{"processes": {{"start_method": "{start_method}"}}}})

    def arguments():
        return sys.argv

    with PoolExecutor(1, executor="processes", settings=chosen) as executor:
        print(executor.submit(arguments).result() == sys.argv, len(sys.argv))
    """,
        "--fast",
        "",
        "ä \n {x}",
        "-c",
    )
    assert said == ["True 5"]


@pytest.mark.slow
def test_a_program_whose_folder_is_gone_can_use_processes(tmp_path: Path) -> None:
    """Where its current folder was deleted it reads no project's settings, and all else works."""
    said = run(
        tmp_path,
        """
    import tempfile
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)
    with PoolExecutor(1, executor="processes") as executor:
        print(executor.submit(abs, -1).result())
    """,
    )
    assert said == ["1"]
