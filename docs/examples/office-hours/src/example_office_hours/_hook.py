"""The hook: asked for each task that is submitted, it says why not, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Literal, Self
from zoneinfo import ZoneInfo

from longshore.hookspecs import hookimpl
from longshore.task import Task
from pydantic import BaseModel, ConfigDict, field_validator, model_validator

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class OfficeHoursSettings(BaseModel):
    """The table `[tool.longshore.hooks.office-hours]`; hours may pass midnight, as 22:00 to 06:00."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    opens: time = time(8)
    closes: time = time(18)
    weekdays: frozenset[Day] = frozenset(("mon", "tue", "wed", "thu", "fri"))
    """The days on which it opens."""
    timezone: str = "UTC"
    """As in "Europe/Berlin"; summer time is that of the place."""
    names: frozenset[str] = frozenset()
    """The tasks that are meant, by name; none means all. "work" means "jobs:work" too, as `longshore run` names it."""

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"no time zone is called {name!r}; one is Europe/Berlin") from error
        return name

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        if self.opens == self.closes:
            raise ValueError("`opens` and `closes` are the same: it would never be open")
        if not self.weekdays:
            raise ValueError("`weekdays` is empty: it would never be open")
        return self


class OfficeHours:
    """Refuses tasks while it is closed, with the reason and when it opens."""

    api = 1
    Settings = OfficeHoursSettings

    def __init__(
        self,
        settings: OfficeHoursSettings | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Keep the settings; `now` gives an aware time, for tests another one."""
        self._settings = settings or OfficeHoursSettings()
        self._zone = ZoneInfo(self._settings.timezone)
        self._now = now

    @hookimpl
    def admit(self, task: Task) -> str | None:
        """Return why a task is refused now, None where it may come. Called for every task: it must be quick."""
        settings = self._settings
        if settings.names and settings.names.isdisjoint(_names(task.spec.name)):
            return None
        now = self._now().astimezone(self._zone)
        if self._open(now):
            return None
        opens = self._next_opening(now)
        return f"outside of office hours; they begin {opens:%a %Y-%m-%d %H:%M} ({settings.timezone})"

    def _open(self, now: datetime) -> bool:
        opens, closes = self._settings.opens, self._settings.closes
        at = now.time()
        if opens < closes:
            return opens <= at < closes and self._opens_on(now)
        return (at >= opens and self._opens_on(now)) or (at < closes and self._opens_on(now - timedelta(days=1)))

    def _opens_on(self, day: datetime) -> bool:
        return _DAYS[day.weekday()] in self._settings.weekdays

    def _next_opening(self, now: datetime) -> datetime:
        opens = self._settings.opens
        days = (now + timedelta(days=ahead) for ahead in range(9))
        starts = (day.replace(hour=opens.hour, minute=opens.minute, second=opens.second, microsecond=0) for day in days)
        return next(start for start in starts if start > now and self._opens_on(start))


def _names(name: str) -> tuple[str, str]:
    """Return by what a task may be meant: its name, and of "module:function" the function alone."""
    return name, name.rpartition(":")[2]
