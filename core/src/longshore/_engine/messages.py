"""What the engine is told (stimuli) and what it wants done (commands).

Stimuli come in batches, commands go out in batches, in an order that is to be kept: a task's `Tell` of being submitted
comes before its `Start`, and that before its `Settle`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from longshore.events import EventBatch
from longshore.records import Load
from longshore.task import Attempt, Outcome, Task, TaskSpec

# ---- stimuli: what has happened


class Submit(Struct, frozen=True):
    """Tasks of one spec ask to be accepted, as their first attempts, queued at the time they are handled."""

    spec: TaskSpec
    attempts: Sequence[Attempt]


class Dismiss(Struct, frozen=True):
    """Tasks of one spec are accepted and end at once, unrun, as these outcomes say: one each, in the same order."""

    spec: TaskSpec
    attempts: Sequence[Attempt]
    outcomes: Sequence[Outcome]


class Past(Struct, frozen=True):
    """What happened to a task before the run that it belongs to went on."""

    number: int
    """Of its next attempt."""
    lost: int = 0
    """How many attempts began and have no known end: they don't count against its retries."""
    deaths: Sequence[str] = ()
    """How workers died under it."""


class Remembered(Struct, frozen=True):
    """What there was of tasks that are about to be submitted, by id; their first attempts have the number of that."""

    tasks: Mapping[str, Past]


class Reported(Struct, frozen=True):
    """An executor says how attempts ended."""

    executor: str
    outcomes: Sequence[Outcome]


class Cancel(Struct, frozen=True):
    """Somebody wants these tasks to end; unknown and ended ones are ignored."""

    task_ids: Sequence[str]
    message: str = "cancelled"


class ExecutorUp(Struct, frozen=True):
    """An executor has `slots` workers from now on; also said again when the number changes."""

    executor: str
    slots: int
    runs_ahead: bool = True
    limits: bool = False
    """Whether it can be told to use fewer of them: see Limit."""
    weighs: bool = False
    """Whether it tells what memory tasks take, and gets that back when it ends one."""


class RunsFor(Struct, frozen=True):
    """The answer to AskRunning: for each task on which worker its attempt runs, and for how many seconds so far.

    One that its executor has not begun yet runs on none (None), for 0 seconds; None seconds is since it was handed out.
    """

    runs: Mapping[str, tuple[str | None, float | None]]


class Waits(Struct, frozen=True):
    """A running task begins to wait for other tasks of the pool, or ends a wait; it may have begun several."""

    task_id: str
    begins: bool


class Keep(Struct, frozen=True):
    """Somebody set the workers of an executor by hand: it is not scaled any more."""

    executor: str


class Grant(Struct, frozen=True):
    """What may be lent out in all, by resource; a resource that is not named has no bound."""

    capacity: Mapping[str, float]


class InUse(Struct, frozen=True):
    """What one running task uses now: memory that its worker holds beyond what it held before, and since when."""

    memory_mb: float
    running_s: float = 0.0


class Measured(Struct, frozen=True):
    """How far the machines of a site are used now; counts for `valid_s` seconds, unless something newer comes."""

    loads: Mapping[str, Load]
    valid_s: float = 10.0
    closed: str | None = None
    """Why nothing may start whatever was measured; None when nobody says so."""
    tasks: Mapping[str, InUse] = {}
    """Running tasks whose own use is known, by id."""
    site: str = ""
    """Whose machines: those of the executor of this name, empty for this one."""


class Pause(Struct, frozen=True):
    """Start nothing until Unpause; with a group, nothing of that group."""

    group: str | None = None


class Unpause(Struct, frozen=True):
    """Start work again; with a group, that of the group."""

    group: str | None = None


class Drain(Struct, frozen=True):
    """Accept nothing more; what was accepted goes on."""


class Abort(Struct, frozen=True):
    """Cancel all there is."""

    message: str = "cancelled: the pool stopped"


class Tick(Struct, frozen=True):
    """Time has passed, nothing else."""


Stimulus = (
    Submit
    | Dismiss
    | Remembered
    | Reported
    | Cancel
    | ExecutorUp
    | RunsFor
    | Waits
    | Keep
    | Grant
    | Measured
    | Pause
    | Unpause
    | Drain
    | Abort
    | Tick
)

# ---- commands: what to do next


class Start(Struct, frozen=True):
    """Hand these attempts to the executor, in order."""

    executor: str
    attempts: Sequence[Attempt]


class CancelAttempts(Struct, frozen=True):
    """Ask the executor to end what it runs of these tasks."""

    executor: str
    task_ids: Sequence[str]
    message: str


class Shed(CancelAttempts, frozen=True):
    """The same for one task, so that its memory comes free: it will be tried again, and nobody asked for its end."""


class AskRunning(Struct, frozen=True):
    """Ask the executor for how long attempts of these tasks have run; RunsFor is the answer."""

    executor: str
    task_ids: Sequence[str]


class Lend(Struct, frozen=True):
    """Let the executor have so many workers beyond its own, in place of those whose tasks wait for other tasks."""

    executor: str
    extra: int


class Limit(Struct, frozen=True):
    """Have the executor use only so many of its workers at once; None: all of them again."""

    executor: str
    workers: int | None


class Scale(Struct, frozen=True):
    """Have the executor have so many workers of its own."""

    executor: str
    workers: int


class Tangled(Struct, frozen=True):
    """Everything that runs waits for tasks that can't start: one of these waits has to be refused, the newest first."""

    task_ids: Sequence[str]
    message: str


class Tell(Struct, frozen=True):
    """Publish these events."""

    batch: EventBatch


class Settle(Struct, frozen=True):
    """These tasks have reached their end: commit, then tell the callers, then publish."""

    spec: TaskSpec
    outcomes: Sequence[Outcome]


class Refuse(Struct, frozen=True):
    """These tasks are not accepted; nothing was queued or reserved for them."""

    tasks: Sequence[Task]
    cause: str
    """"full" (no room), "never" (can never fit) or "closed" (the pool takes no work)."""
    message: str


Command = Start | CancelAttempts | Shed | AskRunning | Lend | Limit | Scale | Tangled | Tell | Settle | Refuse
