"""`longshore doctor`: what this machine and this installation offer, found out without importing a plugin."""

from __future__ import annotations

import multiprocessing
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, TypeVar

from cyclopts import Parameter
from msgspec import to_builtins

from longshore._cpus import usable_cores
from longshore.cgroups import ControlGroup, ControlGroups
from longshore.cli import console
from longshore.cli.console import ExitCode
from longshore.cli.machine import Finding, limits, readings
from longshore.cli.options import JournalPath, Json
from longshore.errors import SettingsError
from longshore.plugins import PluginHost, PluginPolicy
from longshore.settings import LoadedSettings, load_settings

_MB = 10**6
_BEYOND = {
    "control groups": "up to 5 MB beyond the limit were measured",
    "address space": "up to 1 MB beyond the limit were measured, 47 MB with processes that a task starts",
    "polling": "up to 13 MB beyond the limit were measured, 157 MB where forks of one size fill at once",
}
"""By what holds tasks to their limits: the most by which any passed it in M1 of docs/promises.md."""

T = TypeVar("T")


def doctor(
    *,
    run: Annotated[
        str | None, Parameter(help="Look at this run instead: its id, the beginning of it, or `last`.")
    ] = None,
    wait: Annotated[float, Parameter(help="Seconds that a run gets to answer in: `--wait 30`.")] = 10.0,
    journal: JournalPath = None,
    json: Json = False,
) -> int:
    """Tell what a pool finds here: cores, memory, their limits and use, ways to start processes, plugins.

    No plugin is imported here: the probes are read in a process of their own.

    With `--run`, tell what a run is at, also one that hangs: its tasks, workers, reservations and settings, and where
    each of its threads, coroutines and worker processes is. The run goes on. Of one that is over, or whose process is
    dead, tell what is recorded: what had not ended, and how to go on with it. What was learnt of its tasks, by kind, is
    told of both. Signal USR1 has a run tell the same by
    itself, on its stderr.

    For example: `longshore doctor --json`, `longshore doctor --run last`

    With `--run` it ends with 0 when that is told, 1 when the run did not answer and little is known of it, 2 when it
    can't be asked.
    """
    if run is not None:
        from longshore.cli.diagnosed import diagnose_run

        return diagnose_run(run, journal, wait_s=wait, as_json=json)
    return _tell_machine(as_json=json)


def _tell_machine(*, as_json: bool) -> int:
    loaded, found = _settings()
    findings = [*_interpreter(), *_cores(), *_memory(), *_processes(), *_terminal(), found]
    if loaded is not None:
        findings += [*limits(loaded), _task_memory(loaded), *readings(loaded)]
    plugins = PluginHost(loaded.settings.plugins if loaded is not None else PluginPolicy()).candidates()
    if as_json:
        told = [
            {"kind": p.kind, "name": p.name, "version": p.version, "state": p.state.value, "reason": p.reason}
            for p in plugins
        ]
        console.show_json({"findings": to_builtins(findings), "plugins": told})
        return ExitCode.OK
    width = max(len(finding.name) for finding in findings) + 2
    for finding in findings:
        note = f"  ({finding.note})" if finding.note else ""
        console.show(console.line(f"{finding.name + ':':{width}}{finding.value}{note}"))
    console.show("")
    rows = [(f"{p.kind}.{p.name}", p.version, p.state.value, p.reason) for p in plugins]
    console.show_table(("PLUGIN", "VERSION", "STATE", "REASON"), rows)
    return ExitCode.OK


def _interpreter() -> Iterator[Finding]:
    yield Finding("longshore", version("longshore-core"))
    lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    yield Finding(
        "python", f"{platform.python_version()} {platform.python_implementation()}", "" if lock else "without GIL"
    )
    yield Finding("platform", platform.platform())


def _cores() -> Iterator[Finding]:
    cores = os.cpu_count() or 1
    yield Finding("cores", str(cores))
    usable = usable_cores()
    yield Finding("usable cores", f"{usable:g}", "fewer by affinity or quota" if usable < cores else "")


def _memory() -> Iterator[Finding]:
    total = _try(lambda: os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _MB)
    yield Finding("memory", f"{total} MB" if total else "unknown")
    available = next(
        (int(line.split()[1]) * 1024 // _MB for line in _lines("/proc/meminfo") if "MemAvailable" in line), None
    )
    if available is not None:
        yield Finding("available memory", f"{available} MB")
    yield from _cgroup()
    pressure = bool(_lines("/proc/pressure/memory"))
    yield Finding("memory pressure", "readable" if pressure else "not available", "" if pressure else "PSI is not used")
    place = "/dev/shm"  # noqa: S108 - looked at, not written to
    shared = _try(lambda: shutil.disk_usage(place))
    yield Finding(place, f"{shared.free // _MB} MB free of {shared.total // _MB}" if shared else "not available")


def _cgroup() -> Iterator[Finding]:
    groups = ControlGroups().levels("memory")
    if not groups:
        yield Finding("cgroup", "not available", "limits of containers are not seen")
        return
    yield Finding("cgroup", " and ".join(sorted({f"v{group.version}" for group in groups})))
    limits = [limit for group in groups if (limit := group.memory_limit_bytes()) is not None]
    yield Finding("cgroup memory", f"{min(limits) // _MB} MB" if limits else "no limit")


def _task_memory(loaded: LoadedSettings) -> Finding:
    """Tell by what process workers can hold tasks to `task_memory_limit_mb`: what they look for, looked for here."""
    name, rung, note = "limits of tasks", "polling", "in worker processes; advice in threads and coroutines"
    if sys.platform != "linux":
        return Finding(name, "advice", "nothing here tells what a task takes")
    groups, asked = ControlGroups(), loaded.settings.table("executors", "processes").get("memory_limit_by", "auto")
    of_two, of_one = groups.own("", 2), groups.own("memory", 1)
    if asked in ("polling", "address-space"):
        rung = str(asked).replace("-", " ")
    elif of_two is not None and _may_divide(of_two) and "memory" in of_two.text("cgroup.controllers").split():
        rung, note = "control groups v2", "if that group is delegated and no other program is in it; else by polling"
    elif of_one is not None and _is_ours(of_one):
        rung = "control groups v1"
    else:
        note += "; no control group is ours"
    return Finding(name, rung, f"{note}; {_BEYOND[rung.partition(' v')[0]]}")


def _may_divide(group: ControlGroup) -> bool:
    return _is_ours(group) and os.access(f"{group.folder}/cgroup.subtree_control", os.W_OK)


def _is_ours(group: ControlGroup) -> bool:
    return os.access(group.folder, os.W_OK) and os.access(f"{group.folder}/cgroup.procs", os.W_OK)


def _processes() -> Iterator[Finding]:
    yield Finding("start methods", ", ".join(multiprocessing.get_all_start_methods()))
    pidfd = _try(_open_pidfd) if hasattr(os, "pidfd_open") else None
    yield Finding(
        "pidfd", "works" if pidfd else "not available", "" if pidfd else "dead workers are noticed by other means"
    )
    for name, label in (("RLIMIT_NOFILE", "open files"), ("RLIMIT_NPROC", "processes")):
        yield Finding(f"limit of {label}", _ulimit(name))


def _open_pidfd() -> bool:
    os.close(os.pidfd_open(os.getpid()))
    return True


def _ulimit(name: str) -> str:
    try:
        import resource  # not on Windows
    except ImportError:
        return "unknown"
    kind = getattr(resource, name, None)
    if kind is None:
        return "unknown"
    soft, hard = resource.getrlimit(kind)
    words = ["none" if value == resource.RLIM_INFINITY else str(value) for value in (soft, hard)]
    return f"{words[0]} (at most {words[1]})"


def _terminal() -> Iterator[Finding]:
    term = os.environ.get("TERM", "")
    live = sys.stderr.isatty() and term != "dumb" and not os.environ.get("CI")
    size = shutil.get_terminal_size()
    yield Finding("terminal", f"{term or 'none'}, {size.columns} x {size.lines}, {sys.stderr.encoding}")
    yield Finding("progress", "live" if live else "lines", "stderr is no terminal" if not sys.stderr.isatty() else "")


def _settings() -> tuple[LoadedSettings | None, Finding]:
    try:
        loaded = load_settings()
    except SettingsError as error:
        return None, Finding("settings", "not usable", str(error))
    files = sorted({str(origin.file) for origin in loaded.origins.values() if origin.file})
    return loaded, Finding("settings", ", ".join(files) or "defaults", "; ".join(loaded.warnings))


def _lines(path: str | Path) -> list[str]:
    return _try(lambda: Path(path).read_text(encoding="utf-8").splitlines()) or []


def _try(ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except (OSError, ValueError):
        return None
