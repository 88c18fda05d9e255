"""What the probe reads, and that tasks wait for it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from example_licences import LicenceProbe, LicenceSettings, seats
from longshore import ResourceMonitor, Resources, ResourceUnavailable, Settings, WorkerPool
from longshore.hookspecs import Probe
from longshore.records import ReadRequest, Usage
from longshore.testing import ProbeConformance
from pydantic import ValidationError

ANSWER = """\
lmstat - Copyright (c) some years
License server status: 27000@quay
Users of cad:  (Total of {issued} licenses issued;  Total of {used} licenses in use)

  "cad" v2026.0, vendor: acme
    ann quay /dev/pts/0 (v2026.0) (quay/27000 101), start Mon 11/30 8:12

Users of fem:  (Total of 1 license issued;  Total of 0 licenses in use)
"""
DEADLINE_S = 20.0


@pytest.fixture
def answer(tmp_path: Path) -> Path:
    """Return a file with what the server says: three of ten seats are taken."""
    path = tmp_path / "answer.txt"
    path.write_text(ANSWER.format(issued=10, used=3), encoding="utf-8")
    return path


def probe_of(path: Path, *features: str) -> LicenceProbe:
    return LicenceProbe(LicenceSettings(file=str(path), features=features or ("cad", "fem"), period_s=0.01))


class TestLicenceProbe(ProbeConformance):
    """It keeps what every probe keeps, read from a file."""

    @pytest.fixture
    def make_probe(self, answer: Path) -> Callable[[], Probe]:
        return lambda: probe_of(answer)


class TestOfACommand(ProbeConformance):
    """The same where a command is asked."""

    readings = 3

    @pytest.fixture
    def make_probe(self, answer: Path) -> Callable[[], Probe]:
        command = (sys.executable, "-S", "-c", f"print(open({str(answer)!r}).read())")
        return lambda: LicenceProbe(LicenceSettings(command=command, features=("cad",)))


def test_seats_are_read_by_their_name(answer: Path) -> None:
    """Of those that are asked for: in use, and issued; one that the server does not name has none."""
    reading = probe_of(answer, "cad", "crane").read(ReadRequest())
    assert reading.usage == {"licence.cad": Usage(3, 10), "licence.crane": Usage(0, 0)}


def test_an_answer_without_seats_is_an_error() -> None:
    """A server that is down says something else: that is no reading."""
    with pytest.raises(ValueError, match="is the server up"):
        seats("lmgrd is not running: Cannot connect to license server system.")


def test_a_source_is_named_and_only_one() -> None:
    """Neither both nor none."""
    for sources in ({}, {"file": "a", "command": ("lmstat",)}):
        with pytest.raises(ValidationError, match="either `command` or `file`"):
            LicenceSettings.model_validate({"features": ("cad",), **sources})


def _with_seat(number: int) -> int:
    return number


@pytest.mark.anyio
async def test_tasks_wait_for_a_seat(answer: Path) -> None:
    """While others have all seats nothing starts that needs one, and is started when they give one back."""
    answer.write_text(ANSWER.format(issued=10, used=10), encoding="utf-8")
    monitor = ResourceMonitor(None, 0.01, [probe_of(answer)])
    async with WorkerPool(resource_monitor=monitor, settings=Settings(probes=())) as pool:
        await _until(lambda: "licence.cad" in monitor.current_usage)
        one = pool.options(executor="threads", resources=Resources(custom={"licence.cad": 1}))
        handle = await one.submit(_with_seat, 1)
        await _until(lambda: "licence.cad: needs 1, 0 free" in pool.explain(handle.task_id))
        answer.write_text(ANSWER.format(issued=10, used=9), encoding="utf-8")
        assert await asyncio.wait_for(handle, DEADLINE_S) == 1
        with pytest.raises(ResourceUnavailable, match=r"licence\.cad: needs 11, 10 are all there is"):
            await pool.options(resources=Resources(custom={"licence.cad": 11})).submit(_with_seat, 2)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.sleep(0.005)
