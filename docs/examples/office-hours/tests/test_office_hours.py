"""When it takes work, and what it says when it does not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from example_office_hours import OfficeHours, OfficeHoursSettings
from longshore import PluginError, Settings, WorkerPool
from longshore.task import Task, TaskSpec
from pydantic import ValidationError

BERLIN = {"timezone": "Europe/Berlin"}


def work() -> int:
    return 1


def task(name: str = "work") -> Task:
    return Task("t1", TaskSpec(function=work, name=name, executor="threads"))


def asked(at: str, name: str = "work", **settings: Any) -> str | None:
    """Return the answer at a time in UTC."""
    now = datetime.fromisoformat(at).replace(tzinfo=UTC)
    return OfficeHours(OfficeHoursSettings(**settings), now=lambda: now).admit(task(name))


@pytest.mark.parametrize(
    ("at", "open_"),
    [
        ("2026-11-30T07:59", False),  # a Monday
        ("2026-11-30T08:00", True),
        ("2026-11-30T17:59", True),
        ("2026-11-30T18:00", False),
        ("2026-11-28T12:00", False),  # a Saturday
    ],
)
def test_it_is_open_from_eight_to_six_on_weekdays(at: str, open_: bool) -> None:
    """The hour at which it opens is in, that at which it closes is out."""
    assert (asked(at) is None) is open_


@pytest.mark.parametrize(
    ("at", "open_"),
    [
        ("2026-11-30T23:00", True),  # Monday
        ("2026-12-01T05:59", True),  # Tuesday morning: it opened on Monday
        ("2026-12-01T06:00", False),
        ("2026-12-01T23:00", False),
        ("2026-11-30T05:00", False),  # Monday morning: Sunday it did not open
    ],
)
def test_hours_may_pass_midnight(at: str, open_: bool) -> None:
    """The morning after belongs to the day on which it opened."""
    answer = asked(at, opens="22:00", closes="06:00", weekdays=["mon"])
    assert (answer is None) is open_


def test_the_time_is_that_of_the_place() -> None:
    """Eight in Berlin is seven in UTC in winter, and six in summer."""
    assert asked("2026-11-30T07:00", **BERLIN) is None
    assert asked("2026-11-30T06:59", **BERLIN) is not None
    assert asked("2026-06-01T06:00", **BERLIN) is None
    assert asked("2026-06-01T05:59", **BERLIN) is not None


def test_it_says_when_it_opens() -> None:
    """On a Friday evening that is Monday, also over a change of the clocks."""
    assert asked("2026-10-23T18:00", **BERLIN) == (
        "outside of office hours; they begin Mon 2026-10-26 08:00 (Europe/Berlin)"
    )


def test_only_the_tasks_that_are_meant() -> None:
    """With names, others pass at any time."""
    assert asked("2026-11-28T12:00", "other", names=["work"]) is None
    assert asked("2026-11-28T12:00", "work", names=["work"]) is not None


def test_a_function_is_meant_with_its_module_or_without() -> None:
    """`longshore run jobs:work` names its tasks "jobs:work": "work" means them, and so does the whole name."""
    assert asked("2026-11-28T12:00", "jobs:work", names=["work"]) is not None
    assert asked("2026-11-28T12:00", "jobs:work", names=["jobs:work"]) is not None
    assert asked("2026-11-28T12:00", "jobs:work", names=["jobs", "other:work"]) is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"timezone": "Berlin"}, "no time zone is called 'Berlin'"),
        ({"opens": "08:00", "closes": "08:00"}, "never be open"),
        ({"weekdays": []}, "never be open"),
    ],
)
def test_settings_that_can_not_be_are_refused(wrong: dict[str, Any], said: str) -> None:
    """Before a run, in a sentence."""
    with pytest.raises(ValidationError, match=said):
        OfficeHoursSettings(**wrong)


@pytest.mark.anyio
async def test_in_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed and named in the settings it refuses what is submitted, and says why; what is meant by it only."""
    closed = {"opens": "00:00:00", "closes": "00:00:01", "weekdays": ["mon"], "names": ["work"]}
    now = datetime(2026, 11, 28, 12, tzinfo=UTC)
    monkeypatch.setattr(OfficeHours.__init__, "__kwdefaults__", {"now": lambda: now})
    settings = Settings.model_validate({"probes": (), "hooks": {"office-hours": closed}})
    async with WorkerPool(settings=settings) as pool:
        fast = pool.options(executor="threads")
        with pytest.raises(PluginError, match="a hook refused work: outside of office hours; they begin Mon"):
            await fast.submit(work)
        handle = await fast.options(name="other").submit(work)
        assert await handle == 1
