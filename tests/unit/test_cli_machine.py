"""What `doctor` tells of limits and probes: what sets which limit, what is read, and what could not be."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from longshore.cli import machine
from longshore.cli.machine import Finding, Read, limits, readings
from longshore.errors import PluginError
from longshore.records import Bound, Usage
from longshore.settings import LoadedSettings, load_settings


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., LoadedSettings]:
    """Load these settings, and none of the user's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return lambda *overrides: load_settings(overrides=overrides)


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes | Exception], None]:
    """Have the process that reads the probes print this, or fail so."""

    def given(said: bytes | Exception) -> None:
        def run(*_: Any, **__: Any) -> Any:
            if isinstance(said, Exception):
                raise said
            return SimpleNamespace(stdout=said)

        monkeypatch.setattr(machine, "subprocess", SimpleNamespace(**{**vars(subprocess), "run": run}))

    return given


SET = {"limits.max_memory_percent": 50, "limits.max_disk_io_mbps": 200, "workers.task_memory_limit_mb": 300}


def by_name(found: Any) -> dict[str, Finding]:
    return {one.name: one for one in found}


def test_the_tightest_level_makes_the_limit(
    loaded: Callable[..., LoadedSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the machine and the groups around this process; with the setting and where it comes from."""
    levels = [Bound("host", 0.0, 64_000.0), Bound("cgroup /box (v2)", 0.0, 2_000.0)]
    monkeypatch.setattr(machine, "_memory_levels", lambda: levels)
    monkeypatch.setattr(machine, "_cpu_levels", list)
    found = by_name(limits(loaded(*(f"{key}={value}" for key, value in SET.items()))))
    memory = found["limit of memory"]
    assert memory.value == "1000 of 2000 MB"
    assert memory.note.startswith("50 % (limits.max_memory_percent: --set limits.max_memory_percent=50")
    assert memory.note.endswith("of cgroup /box (v2)")
    assert found["limit of disk_io"].value == "200 MB/s"
    assert "limit of cpu" not in found
    assert found["limit of one task"].value == "300 MB of memory"


def test_groups_and_affinity_are_levels_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the host: the CPUs of this process, a quota, a limit of memory; a group without one is no level."""
    group = SimpleNamespace(name="/box", version=2, cpu_quota=lambda: 1.5, memory_limit_bytes=lambda: 512 * 10**6)
    free = SimpleNamespace(name="/", version=1, cpu_quota=lambda: None, memory_limit_bytes=lambda: None)
    monkeypatch.setattr(machine, "ControlGroups", lambda: SimpleNamespace(levels=lambda kind: [group, free]))
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    assert [(one.name, one.capacity) for one in machine._cpu_levels()] == [
        ("host", 8.0),
        ("the CPUs of this process (affinity)", 2.0),
        ("cgroup /box (v2)", 1.5),
    ]
    host, box = machine._memory_levels()
    assert (host.name, box.name, box.capacity) == ("host", "cgroup /box (v2)", 512.0)


def test_what_the_probes_read_is_told_with_its_limit(
    loaded: Callable[..., LoadedSettings], probes: Callable[[bytes | Exception], None]
) -> None:
    """With the level it is at, and a line for each probe that could not be read."""
    usage: Mapping[str, Usage] = {"memory": Usage(used=900.0, capacity=1000.0, bounds=[Bound("host", 900.0, 1000.0)])}
    probes(msgspec.json.encode(Read(usage, {"nosuch": "there is no probe named nosuch"})))
    found = by_name(readings(loaded("limits.max_memory_percent=50")))
    assert found["memory now"].value.startswith("90 %, the limit is 50 %, the warning level is ")
    assert found["memory now"].note == "900 of 1000 MB of host"
    assert found["probe nosuch"] == Finding("probe nosuch", "reads nothing", "there is no probe named nosuch")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (subprocess.TimeoutExpired("python", 10.0), "timed out after 10.0 seconds"),
        (OSError("no more processes"), "no more processes"),
        (b"this is no JSON", "JSON"),
    ],
)
def test_probes_that_can_not_be_read_cost_a_line(
    loaded: Callable[..., LoadedSettings], probes: Callable[[bytes | Exception], None], said: Any, why: str
) -> None:
    """Be it that their process hangs, can't be begun or says what is no answer."""
    probes(said)
    [only] = readings(loaded())
    assert (only.name, only.value) == ("reads now", "nothing")
    assert why in only.note


class Ended(Exception):
    """In place of the end of the process."""


class Host:
    """Makes a probe of each name, of which one can't be read and another is not there."""

    def __init__(self) -> None:
        self.reads: list[str] = []

    def create(self, kind: str, name: str, table: object) -> Any:
        if name == "nosuch":
            raise PluginError("there is no probe named nosuch")

        def read(request: object) -> Any:
            self.reads.append(name)
            if name == "broken":
                raise ZeroDivisionError("by zero")
            return SimpleNamespace(usage={"cpu": Usage(used=1.0, capacity=4.0)})

        return SimpleNamespace(read=read)


def test_the_process_that_reads_tells_of_each_probe(
    loaded: Callable[..., LoadedSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is read twice, as rates are over the time between; one that raises costs none of the others."""
    host, written = Host(), list[bytes]()

    def write(descriptor: int, data: bytes) -> None:
        assert descriptor == 1
        written.append(data)

    def end(code: int) -> None:
        raise Ended(code)

    given = loaded('probes=["good", "broken", "nosuch"]')
    monkeypatch.setattr(machine, "load_settings", lambda: given)
    monkeypatch.setattr(machine, "PluginHost", lambda policy: host)
    monkeypatch.setattr(machine, "_BETWEEN_S", 0.0)
    monkeypatch.setattr(machine, "os", SimpleNamespace(**{**vars(os), "write": write, "_exit": end}))
    with pytest.raises(Ended):
        machine.main()
    read = msgspec.json.decode(written[0], type=Read)
    assert {name: (one.used, one.capacity) for name, one in read.usage.items()} == {"cpu": (1.0, 4.0)}
    assert read.failed == {"broken": "ZeroDivisionError: by zero", "nosuch": "there is no probe named nosuch"}
    assert host.reads == ["good", "good", "broken"]


def test_without_a_limit_a_reading_is_only_a_number() -> None:
    """No limit is told that there is not."""
    load = SimpleNamespace(usage=0.256, unit="%", limit=inf, warning=inf)
    assert machine._read("gpu", load, None) == Finding("gpu now", "0.256 %", "")  # type: ignore[arg-type]
