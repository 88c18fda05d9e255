"""How often a run is looked at, how much of that is remembered, and what people are alerted of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from longshore._limits import Finite, Whole

Percent = Annotated[Finite, Field(gt=0, le=100)]


class HealthSettings(BaseModel):
    """When a pool looks after itself, and what counts as too long; frozen, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every_s: Finite = Field(default=30.0, gt=0, description="Seconds between two looks that health_check tells of")
    stall_after_s: Finite = Field(
        default=600.0,
        gt=0,
        description="Seconds in which nothing at all happens, though there is work",
    )
    saturated_after_s: Finite = Field(
        default=60.0, gt=0, description="Seconds for which a full queue may see no task end before that is a fault"
    )


class AlertSettings(BaseModel):
    """What people are alerted of; frozen, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    error_percent: Percent = Field(default=10.0, description="Percent of tasks that fail above which it is raised")
    error_window_s: Finite = Field(default=300.0, gt=0, description="Seconds that this is looked at over")
    error_least: Whole = Field(default=20, ge=1, description="Tasks that have to end in that time for it")
    resource_percent: Percent = Field(default=90.0, description="Percent of a resource above which it is raised")
    rate_least_per_s: Finite = Field(
        default=0.1, ge=0, description="Tasks a second below which it is raised while others wait; 0: never"
    )
    rate_window_s: Finite = Field(default=60.0, gt=0, description="Seconds that this is looked at over")


class HistorySettings(BaseModel):
    """How much of a run is remembered; frozen, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every_s: Finite = Field(default=60.0, ge=0.1, description="Seconds from one point to the next")
    most: Whole = Field(default=1440, ge=1, le=10_000, description="Points that are kept: a day of minutes")
    fine_every_s: Finite = Field(default=2.0, ge=0.1, description="The same of fine points; alerts are looked for then")
    fine_most: Whole = Field(default=300, ge=1, le=10_000, description="Fine points that are kept: ten minutes")
    happenings_most: Whole = Field(
        default=500, ge=1, le=10_000, description="Events of note that are kept, and as many times of throttling"
    )


__all__ = ["AlertSettings", "HealthSettings", "HistorySettings"]
