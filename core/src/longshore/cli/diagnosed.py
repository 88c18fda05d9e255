"""`longshore doctor --run`: what a run is at. A live one is asked by a signal; of a dead one its journal tells."""

from __future__ import annotations

import ctypes
import os
import socket
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import to_builtins

from longshore._diagnosis import Diagnosis
from longshore._diagnosis_signal import LISTENS, PIPE, RECORD, Listens, is_caught
from longshore._diagnosis_text import diagnosis_text
from longshore.cli.console import ExitCode, UsageError, line, say, show, show_json
from longshore.cli.journals import JournalPlace, find_run, open_archive, state_of
from longshore.cli.learnt import learnt_lines, learnt_of
from longshore.hookspecs import Archive
from longshore.records import JournalQuery, RunRecord, TaskEntry

_LOOK_S: Final = 0.05  # between two looks for the answer
_WRITE_S: Final = 0.1  # for a handler to write
_RUNNING_MOST: Final = 8
_SHOWN: Final = 50
_RAW_MOST: Final = 64 * 1024
_THREADS_MOST: Final = 100


def diagnose_run(name: str, journal: str | None, *, wait_s: float, as_json: bool) -> int:
    """Tell what a run is at, and return the exit code; UsageError where it can't be asked."""
    if not wait_s > 0:
        raise UsageError(f"--wait {wait_s:g}: it is seconds, and more than 0")
    archive, place = open_archive(journal)
    run = find_run(archive, name)
    if run.held:
        return _ask(archive, run, wait_s=wait_s, as_json=as_json)
    _tell_recorded(archive, run, place, as_json=as_json)
    return ExitCode.OK


def _ask(archive: Archive, run: RunRecord, *, wait_s: float, as_json: bool) -> ExitCode:
    folder = _folder(archive, run)
    listens = _listens(run, folder)
    answer, before = folder / RECORD, _stamp(folder / RECORD)
    try:
        os.kill(listens.pid, listens.signal)
    except ProcessLookupError:
        raise UsageError(f"run {run.run_id} has just ended: call it again for what is recorded of it") from None
    deadline = time.monotonic() + wait_s
    while _stamp(answer) == before:
        if time.monotonic() > deadline:
            return _tell_silent(run, listens.pid, folder, wait_s=wait_s, as_json=as_json)
        time.sleep(_LOOK_S)
    data = answer.read_bytes()
    learnt = learnt_of(archive, run.run_id)
    if as_json:
        show_json({**msgspec.json.decode(data), "learnt": to_builtins(learnt)})
    else:
        for text in learnt_lines(learnt):
            show(text)
        show(diagnosis_text(msgspec.json.decode(data, type=Diagnosis)).rstrip("\n"))
    return ExitCode.OK


def _folder(archive: Archive, run: RunRecord) -> Path:
    """Return where the answer will be; UsageError where this process can't ask."""
    named = getattr(archive, "folder", None)
    if named is None:
        raise UsageError(
            f"run {run.run_id} is in a journal without folders: send its process {run.pid} the signal USR1"
        )
    if run.host != socket.gethostname():
        raise UsageError(f"run {run.run_id} is at work on {run.host}, process {run.pid}: call this on that machine")
    return Path(named(run.run_id))


def _listens(run: RunRecord, folder: Path) -> Listens:
    """Return who is to be sent which signal; UsageError where that would be wrong, or would end it."""
    listens = None
    with suppress(OSError, msgspec.MsgspecError):
        listens = msgspec.json.decode((folder / LISTENS).read_bytes(), type=Listens)
    if listens is None or listens.pid != run.pid:
        raise UsageError(
            f"process {run.pid} has run {run.run_id}, and takes no questions: a signal might end it; a program has its "
            "pool answer by longshore.install_diagnostics(pool), `longshore run` once its pool has started"
        )
    try:
        os.kill(listens.pid, 0)
    except PermissionError:
        raise UsageError(f"process {run.pid} of run {run.run_id} is another user's: have that user call this") from None
    except ProcessLookupError:
        raise UsageError(f"process {run.pid} of run {run.run_id} is not there: is it in another container?") from None
    if Path(f"/proc/{listens.pid}/status").exists() and not is_caught(listens.pid, listens.signal):
        raise UsageError(
            f"process {run.pid} has no handler for signal {listens.signal}: it is stopping, or is not that of run "
            f"{run.run_id}"
        )
    return listens


def _stamp(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        found = path.stat()
        return found.st_mtime_ns, found.st_ino
    return None


def _tell_silent(run: RunRecord, pid: int, folder: Path, *, wait_s: float, as_json: bool) -> ExitCode:
    """Tell what can be seen of a run that does not answer: where its main thread was, what its threads wait for."""
    threads = _threads(pid)
    _ask_running(threads, _listens(run, folder))
    raw = _raw(folder / PIPE)
    if as_json:
        show_json({"run": run.run_id, "pid": pid, "answered": False, "stacks": raw, "threads": threads})
        return ExitCode.SOME_FAILED
    show(line(f"run {run.run_id}, process {pid}, did not answer within {wait_s:g} s:"))
    if any(state.startswith("T") for state in threads):
        show("it is stopped by a signal: `kill -CONT` has it go on")
    else:
        show("code that does not let go of the interpreter keeps all else in it from running, or it is starved")
    if raw:
        show("where its main thread was when it was asked, and where those are that run, each innermost first:")
        for text in raw:
            show(line(f"  {text}"))
    for state in threads:
        show(line(f"  {state}"))
    return ExitCode.SOME_FAILED


def _ask_running(threads: list[str], listens: Listens) -> None:
    """Have the threads that run write where they are: one of them has the interpreter."""
    running = [int(state.split()[2]) for state in threads if state.startswith("R")][:_RUNNING_MOST]
    with suppress(OSError, AttributeError):  # a C library that has no such call
        tgkill = ctypes.CDLL(None).tgkill
        for thread in running:
            if thread != listens.pid:
                tgkill(listens.pid, thread, listens.signal)
                time.sleep(_WRITE_S)  # two at once are one to the handler


def _raw(pipe: Path) -> list[str]:
    """Return what the handler of the signal has written, if that was not read by its own process."""
    data = b""
    with suppress(OSError):
        descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            data = os.read(descriptor, _RAW_MOST)
        finally:
            os.close(descriptor)
    return [text.strip() for text in data.decode("utf-8", "replace").splitlines() if text.strip()]


def _threads(pid: int) -> list[str]:
    """Return how the system has each thread: its state, its name, where it waits."""
    found = []
    with suppress(OSError):
        for task in sorted(os.listdir(f"/proc/{pid}/task"), key=int)[:_THREADS_MOST]:
            with suppress(OSError):
                place = Path(f"/proc/{pid}/task/{task}")
                state = place.joinpath("stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
                name = place.joinpath("comm").read_text("utf-8", "replace").strip()
                found.append(
                    f"{state} thread {task} ({name}) {place.joinpath('wchan').read_text('ascii')}".rstrip("0 ")
                )
    return found


def _tell_recorded(archive: Archive, run: RunRecord, place: JournalPlace, *, as_json: bool) -> None:
    """Tell what the journal has of a run that nobody is at."""
    state, left = state_of(run), run.counts.get("unfinished", 0)
    entries = (entry for entry in archive.tasks(JournalQuery(run_id=run.run_id)) if entry.state is None)
    shown = [_facts(entry) for entry in islice(entries, _SHOWN)]
    goes_on = f"longshore resume {run.run_id}{place.option}" if state in ("interrupted", "stopped", "failed") else None
    learnt = learnt_of(archive, run.run_id)
    if as_json:
        told = {"run": run.run_id, "state": state, "counts": dict(run.counts), "unfinished": shown, "resume": goes_on}
        show_json({**told, "learnt": to_builtins(learnt)})
        return
    show(line(f"run {run.run_id} ({run.name}) is {state}; process {run.pid} on {run.host} was the last to be at it"))
    show(line(f"recorded tasks without an outcome: {left}"))
    for facts in shown:
        of = f" of {facts['key']}" if facts["key"] else ""
        show(line(f"  {facts['task']} ({facts['name']}){of}: {_began(facts)}"))
    if left > len(shown):
        show(f"  and {left - len(shown)} more")
    for text in learnt_lines(learnt):
        show(text)
    if goes_on is not None:
        show(line(f"to go on with it: {goes_on}"))
    say("note: nobody is at this run now: this is what is recorded")


def _facts(entry: TaskEntry) -> dict[str, Any]:  # Any: JSON-safe values
    return {
        "task": entry.task_id,
        "name": entry.kind.name,
        "executor": entry.kind.executor,
        "key": entry.key,
        "attempts": entry.attempts,
        "lost": entry.lost,
        "deaths": list(entry.deaths),
    }


def _began(facts: dict[str, Any]) -> str:  # Any: as above
    if not facts["attempts"]:
        return "no attempt of it is recorded as begun"
    deaths = f"; its worker died before: {', '.join(facts['deaths'])}" if facts["deaths"] else ""
    return f"attempt {facts['attempts']} began and did not end, on {facts['executor']}{deaths}"
