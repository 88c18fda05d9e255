"""Many tasks, some of them bad: by count, by worker, and over real documents."""

from __future__ import annotations

import os
from pathlib import Path

from longshore import Outcome, TaskState, WorkerDied
from suite.documents import Document, extract
from suite.registry import scenario
from suite.tasks import fragile
from suite.trial import Skipped, Trial
from suite.yard import open_yard, retry


@scenario(
    "F10",
    "one attempt in twenty fails, with three retries",
    "at least 99.9 % complete, none is lost",
    short_s=60.0,
    long_s=400.0,
)
async def f10_reliability(trial: Trial) -> None:
    count = trial.pick(1500, 10_000)
    async with open_yard(trial, "zygote") as yard:
        outcomes = await yard.run(fragile, [*range(count)], bad=range(count), retry=retry(4, OSError, WorkerDied))
    completed = sum(outcome.ok for outcome in outcomes)
    trial.tell("completed_percent", round(100 * completed / count, 3))
    trial.tell("retries", yard.retried())
    trial.expect(completed >= 0.999 * count, f"{completed} of {count} completed")


LIMIT_S = 10.0
MEMORY_MB = 256
FATES = ("crash", "hang", "memory")
EXPECTED = {"crash": "WorkerDied", "hang": "TaskTimeout", "memory": "MemoryLimitExceeded"}


def corpus() -> list[str]:
    """Return the documents there are."""
    given = os.environ.get("FAULTS_CORPUS")
    beside = [parent / "shared/corpus" for parent in Path(__file__).resolve().parents]
    folders = [Path(given)] if given else beside
    found = next((folder for folder in folders if folder.is_dir()), None)
    if found is None:
        raise Skipped("no corpus is found beside the checkout: name its folder by --corpus")
    return sorted(str(path) for path in found.rglob("*") if path.is_file())


@scenario(
    "CORPUS40",
    "a corpus 40 times over; 1 % crash, hang or eat memory",
    "each bad one fails alone, all else is as in a clean run",
    short_s=None,
    long_s=3000.0,
)
async def corpus40(trial: Trial) -> None:
    paths = corpus()
    options = {"timeout": LIMIT_S, "executor": "processes"}
    async with open_yard(trial, "zygote", task_memory_limit_mb=MEMORY_MB) as yard:
        clean = await yard.run(extract, [Document(path, 0, None) for path in paths], bad=range(len(paths)), **options)
    known = dict(zip(paths, clean, strict=True))
    documents = [Document(path, copy, _fate(trial)) for copy in range(40) for path in paths]
    at_fault = {index for index, document in enumerate(documents) if document.fate is not None}
    async with open_yard(trial, "zygote", task_memory_limit_mb=MEMORY_MB) as yard:
        outcomes = await yard.run(extract, documents, bad=range(len(documents)), **options)
    for index, (document, outcome) in enumerate(zip(documents, outcomes, strict=True)):
        if index in at_fault:
            found = outcome.error.type.rpartition(".")[2] if outcome.error else outcome.state.value
            trial.add(f"fate_{document.fate}")
            trial.expect(found == EXPECTED[document.fate or ""], f"{document.fate} ended as {found}")
        elif not _alike(outcome, known[document.path], trial):
            trial.add("bystanders")
            trial.notes.append(f"{Path(document.path).name}: {outcome.error or outcome.state.value}")
    trial.add("documents", len(documents))


def _fate(trial: Trial) -> str | None:
    return trial.dice.choice(FATES) if trial.dice.random() < 0.01 else None


def _alike(outcome: Outcome, clean: Outcome, trial: Trial) -> bool:
    """Compare with the clean run; a document that takes about as long as it may is let off, and counted."""
    if outcome.state is clean.state and outcome.value == clean.value:
        return True
    near = max(outcome.ran_s, clean.ran_s) > LIMIT_S / 2 and TaskState.TIMED_OUT in (outcome.state, clean.state)
    trial.add("near_the_limit", near)
    return near
