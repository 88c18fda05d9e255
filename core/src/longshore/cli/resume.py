"""`longshore resume`: go on with a recorded run, of the same inputs, options and settings."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from longshore._objects import ObjectFacts, is_url
from longshore.cli.console import DASH, UsageError, line, say
from longshore.cli.job import Job, Keeping, make_job
from longshore.cli.journals import find_run, open_archive
from longshore.cli.lines import stdout_for_data
from longshore.cli.objects import Change, Now, objects_now, path_of_output
from longshore.cli.options import ExecutorName, JournalPath, Progress, RunName, RunOptions, Set
from longshore.cli.output import Output
from longshore.cli.recorded import (
    Allowance,
    CommandJournal,
    CommandRecord,
    InputRecord,
    RecordedRun,
    StepRecord,
    python_version,
    read_run,
    stale_tasks,
    states_of,
)
from longshore.cli.run import command_record, foreseen, perform
from longshore.errors import SettingsError
from longshore.hookspecs import Archive
from longshore.records import RunRecord
from longshore.settings import LoadedSettings, leaves, load_settings, recorded_settings
from longshore.task import TaskState

_FAILED = (TaskState.FAILED, TaskState.TIMED_OUT)
_SHOWN = 5
_Failed = Annotated[bool, Parameter(negative=(), show_default=False, help="Run again what failed, too: `--failed`.")]
_To = Annotated[
    str | None, Parameter(name=["--output", "-o"], help="Where the results go; left out: where the run had them.")
]
_Where = Annotated[
    ExecutorName | None,
    Parameter(show_choices=False, help="Where what is left runs: `--executor threads`; left out: where the run was."),
]


def resume(
    run: RunName,
    /,
    *,
    failed: _Failed = False,
    output: _To = None,
    executor: _Where = None,
    progress: Annotated[Progress | None, Parameter(help="How progress is shown; left out: as the run had it.")] = None,
    set_: Set = (),
    journal: JournalPath = None,
) -> int:
    """Go on with a run that was stopped or killed: what has a recorded result is not run again.

    Inputs, options, settings and pipeline are those that the run was begun with, but for what is given here. In a file
    of results each input has one line in the end. What has changed since is said; changed inputs run again.

    For example: `longshore resume last`, `longshore resume 20260131 --failed --executor processes`

    Ends as `longshore run` does; what was done before counts.
    """
    archive, place = open_archive(journal)
    record, recorded = _find(archive, run)
    file = _file(output)
    _go_to(recorded.command.folder)
    options = _options(recorded.command, output, file, progress)
    options = options if executor is None else replace(options, executor=executor)
    _tell_settings(_settings(recorded.command), options)
    now = _objects_now(recorded)
    changed = _changed_inputs(recorded, now)
    with stdout_for_data() as data:
        job = _job(recorded, options, _settings(recorded.command, set_), now)
        _tell_code(recorded.command, [StepRecord.of(step) for step in job.pipeline.steps])
        states, stale = _states(archive, record, recorded, command_record(job, options), changed, now)
        kept = place.make(job.host)
        keeping = Keeping(CommandJournal(kept, states, stale), True, place.option, record.run_id, failed)
        goes_on = Output(options.output, data, again=lambda name, state: _is_again(name, state, changed, failed=failed))
        return perform(replace(foreseen(job, kept), keeping=keeping), goes_on)


def _file(output: str | None) -> str | None:
    """Return the whole path of the file of results that is given; None where none is."""
    path = path_of_output(output)
    return None if path is None or path == DASH else os.path.abspath(path)


def _find(archive: Archive, name: str) -> tuple[RunRecord, RecordedRun]:
    """Return the run that is meant; UsageError if there is none, or it can't be gone on with from here."""
    record = find_run(archive, name)
    recorded = read_run(archive, record.run_id)
    if recorded is None:
        raise UsageError(
            f"run {record.run_id} was begun by a program of its own: run that again, with "
            f'WorkerPool(journal=..., resume="{record.run_id}")'
        )
    if record.held:
        raise UsageError(f"run {record.run_id} is under way, in process {record.pid} on {record.host}")
    return record, recorded


def _is_again(name: str, state: TaskState, changed: Collection[str], *, failed: bool) -> bool:
    return state is TaskState.CANCELLED or name in changed or (failed and state in _FAILED)


def _go_to(folder: str) -> None:
    """Make the run's folder the current one; UsageError if it is gone."""
    try:
        here = os.getcwd()
    except OSError:
        here = ""
    try:
        os.chdir(folder)
    except OSError as error:
        raise UsageError(
            f"the folder in which the run was begun can't be gone to: {folder}: {error.strerror}"
        ) from error
    if here != folder:
        say(f"note: names of files count from {line(folder)}, as the run's")


def _options(command: CommandRecord, output: str | None, file: str | None, progress: Progress | None) -> RunOptions:
    """Return the run's options, with what is given instead."""
    options = msgspec.convert(command.options, RunOptions)
    to = command.output if output is None else file
    return replace(options, output=to, progress=progress or options.progress)


def _settings(command: CommandRecord, set_: Sequence[str] = ()) -> LoadedSettings:
    return recorded_settings(command.table, set_, command.lists)


def _job(recorded: RecordedRun, options: RunOptions, settings: LoadedSettings, now: Mapping[str, Now]) -> Job:
    """Return the job of all inputs; a name that was no file may be one now."""
    unusable = {
        each.path: each.reason
        for each in recorded.inputs
        if each.reason is not None and not (_facts(each.path, now) or os.path.isfile(each.path))
    }
    names = [each.path for each in recorded.inputs]
    paths = [*(name for name in names if name not in unusable), *unusable]
    job = make_job(recorded.command.target, paths, replace(options, set_=()), settings)
    known = {each.path: _facts(each.path, now) or each.facts for each in recorded.inputs if each.path in now}
    return replace(job, unusable=unusable, objects=known)


def _facts(name: str, now: Mapping[str, Now]) -> ObjectFacts | None:
    return now[name].facts if name in now else None


def _states(
    archive: Archive,
    run: RunRecord,
    recorded: RecordedRun,
    command: CommandRecord,
    changed: Collection[str],
    now: Mapping[str, Now],
) -> tuple[Mapping[str, Any], frozenset[str]]:  # Any: JSON-safe values
    """Return what is recorded as the run goes on, and the tasks whose inputs have changed since they ended."""
    stale = recorded.stale | stale_tasks(archive, run.run_id, changed)
    allowance = Allowance()
    inputs = [
        InputRecord.of(each.path, allowance, each.reason, _facts(each.path, now)) if each.path in changed else each
        for each in recorded.inputs
    ]
    if recorded.command.output is not None and command.output is None:
        command = msgspec.structs.replace(command, output=recorded.command.output)
    return states_of(command, inputs, stale), stale


# ---- what has changed


def _objects_now(recorded: RecordedRun) -> Mapping[str, Now]:
    """Return what has become of the inputs that are objects."""
    return objects_now({each.path: each.facts for each in recorded.inputs if is_url(each.path)})


def _changed_inputs(recorded: RecordedRun, now: Mapping[str, Now]) -> frozenset[str]:
    """Return the inputs that are not what they were, and say so."""
    there = [each for each in recorded.inputs if each.reason is None]
    files = [each for each in there if each.path not in now]
    became = {each.path: now[each.path].change for each in there if each.path in now}
    changed = [each.path for each in files if each.has_changed()] + _those("changed", became)
    gone = [each.path for each in files if not os.path.exists(each.path)] + _those("gone", became)
    _tell("have changed since, and run again", changed)
    _tell("are gone, and fail if they have no result", gone)
    _tell("can't be told from changed ones, and count as the same", _those("untold", became))
    return frozenset(changed)


def _those(change: Change, became: Mapping[str, Change]) -> list[str]:
    return [name for name, what in became.items() if what == change]


def _tell(what: str, names: list[str]) -> None:
    if names:
        shown = ", ".join(line(name) for name in names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        say(f"note: {len(names)} inputs {what}: {shown}")


def _tell_settings(settings: LoadedSettings, options: RunOptions) -> None:
    """Say which settings are others by now; those of the run count."""
    try:
        now = load_settings(overrides=options.set_).settings.model_dump(mode="json")
    except SettingsError as error:
        say(f"note: the settings of the run are used; those of today can't be read: {error}")
        return
    then = settings.settings.model_dump(mode="json")
    keys = dict.fromkeys([*leaves(then), *leaves(now)])
    other = [".".join(key) for key in keys if key[0] not in ("journal", "journals") and _at(then, key) != _at(now, key)]
    if other:
        shown = ", ".join(other[:_SHOWN]) + (", ..." if len(other) > _SHOWN else "")
        say(f"note: settings have changed since, and those of the run are used: {shown} (--set gives others)")


def _at(table: Any, key: tuple[str, ...]) -> object:  # Any: JSON-safe values
    for name in key:
        if not isinstance(table, Mapping) or name not in table:
            return None
        table = table[name]
    return table


def _tell_code(command: CommandRecord, steps: list[StepRecord]) -> None:
    """Say what of the pipeline is another by now; what has a result keeps it."""
    then = {step.name: step.code for step in command.steps}
    if list(then) != [step.name for step in steps]:
        say(f"note: the pipeline has changed since: it had the stages {', '.join(then)}")
    if command.python != python_version():
        say(f"note: the run was begun with Python {command.python}, and this is {python_version()}")
        return  # whose digests of code are others
    for step in steps:
        before = then.get(step.name)
        if None not in (before, step.code) and before != step.code:
            say(
                f"note: the code of {step.name} has changed since: what completed keeps its result (a new run has none)"
            )
