"""`longshore run`: a pipeline or a function over many inputs."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine
from contextlib import closing
from dataclasses import replace
from typing import Annotated, Any

from cyclopts import Parameter
from msgspec import to_builtins
from msgspec.structs import asdict

from longshore.cli.console import DASH, ExitCode, UsageError, say
from longshore.cli.durations import Forecast, Target, order_told, ordered
from longshore.cli.inputs import expand, names_on_stdin
from longshore.cli.job import Job, Keeping, make_job
from longshore.cli.journals import JournalPlace, journal_for_run
from longshore.cli.lines import Lines, stdout_for_data
from longshore.cli.objects import path_of_output
from longshore.cli.options import RunOptions
from longshore.cli.output import Output
from longshore.cli.recorded import (
    Allowance,
    CommandJournal,
    CommandRecord,
    InputRecord,
    StepRecord,
    python_version,
    states_of,
)
from longshore.cli.report import Wanted, report_of_run, write_reports
from longshore.errors import JournalError, LongshoreError, PluginError
from longshore.hookspecs import Journal
from longshore.pipeline import plan

_DEFAULTS = RunOptions()
_INPUTS = (
    "Files, folders (every file below), patterns such as `'scans/*.pdf'`, URLs such as `s3://bucket/scans/`, or `-`: "
    "names on stdin."
)


def run(
    target: Annotated[str, Parameter(help="A pipeline, such as `documents`, or your own `module:function`.")],
    /,
    *inputs: Annotated[str, Parameter(help=_INPUTS)],
    options: RunOptions = _DEFAULTS,
) -> int:
    """Run a pipeline, or a function of yours, on each input, and write one JSON line for each.

    A function is called with the input's path; what it returns is the result. It runs in worker processes, so that a
    crash or a time-out costs one input; a coroutine function runs on asyncio.

    Ways to call it:

    `longshore run documents papers/ -o out.jsonl`

    `longshore run mymodule:count 'logs/*.txt' s3://bucket/logs/ --timeout 30 --retries 2 --max-failures 5%`

    `find . -name '*.pdf' | longshore run documents - --order largest-first -o out.jsonl`

    A line is `{"input": ..., "status": "completed", "result": ..., "error": null}`; what a function returns must be
    JSON. What else may be set stands in longshore.toml or in pyproject.toml: see `longshore config --help`.

    Ends with 0 when all went well, 1 when some inputs failed, 2 for wrong arguments or settings, 3 when stopped by
    `--max-failures`, 4 for a fault of longshore or a plugin, 5 when there is nothing to do, 130 or 143 after a signal.
    Ctrl-C lets running tasks end and stops; a second one stops at once.

    All is recorded before its line is written: `longshore resume RUN` goes on with a run that was stopped or killed,
    and `longshore report RUN` tells what became of it; `--report report.html` does so at its end.
    """
    options = replace(options, output=path_of_output(options.output))
    file = None if options.output in (None, DASH) else options.output
    found = expand(inputs, names_on_stdin, file)
    _note_dangling(found.dangling)
    paths = [*found.paths, *found.unusable]
    with stdout_for_data() as data:
        job = replace(make_job(target, paths, options), unusable=found.unusable, objects=found.objects)
        if not paths:
            say("longshore: there is nothing to do: no input is a file, or has one below it")
            return ExitCode.NOTHING
        return _begin(job, options, Output(file, data))


def _begin(job: Job, options: RunOptions, output: Output) -> int:
    wanted = None if options.report is None else report_of_run(options.report)
    kept = None if options.dry_run and options.order == "given" else _journal(job, options)
    job = _in_order(job if kept is None else foreseen(job, kept[1]), options)
    if options.dry_run:
        return _plan(job, Lines(output.data))
    if wanted is not None and kept is None:
        raise UsageError("--report is made of what is recorded of the run, and nothing is: leave out --no-journal")
    keeping = None if kept is None else _keeping(job, options, *kept)
    try:
        code = perform(replace(job, keeping=keeping), output)
    except Exception:
        if wanted is not None and keeping is not None and keeping.journal.run_id is not None:
            _report(keeping, wanted)
        raise
    if wanted is not None and keeping is not None:
        _report(keeping, wanted)
    return code


def _report(keeping: Keeping, wanted: Wanted) -> None:
    """Write the report; that it can't be costs the run nothing."""
    run_id = keeping.journal.run_id
    if run_id is None:
        say("note: there is no report: nothing was recorded of the run")
        return
    try:
        with closing(keeping.journal.archive()) as archive:
            write_reports(archive, run_id, [wanted])
    except (UsageError, LongshoreError, OSError) as error:
        say(f"note: there is no report: {error}; to write it: longshore report {run_id}{keeping.option}")


def _journal(job: Job, options: RunOptions) -> tuple[JournalPlace, Journal] | None:
    """Return where a run that begins is recorded, and by what."""
    place = journal_for_run(job.settings, job.host, options.journal, off=options.no_journal)
    if place is None:
        return None
    try:
        return place, place.make(job.host)
    except PluginError as error:
        if place.asked:
            raise
        say(f"note: nothing is recorded: {error}")
        return None


def foreseen(job: Job, journal: Journal) -> Job:
    """Return the job with what earlier runs say of how long its inputs take."""
    try:
        with closing(journal.archive()) as archive:
            return replace(job, forecast=Forecast.read(archive, Target(job.name, _folder()), job.usable, job.objects))
    except JournalError as error:
        say(f"note: what earlier runs took can't be read: {error}")
        return job


def _in_order(job: Job, options: RunOptions) -> Job:
    """Return the job with its inputs in the order that was asked for, and say what that goes by."""
    if options.order == "given":
        return job
    if job.progress != "json":
        say(f"longshore: {order_told(job.forecast, job.name)}")
    return replace(job, paths=[*ordered(job.usable, job.forecast, job.objects), *job.unusable])


def _keeping(job: Job, options: RunOptions, place: JournalPlace, journal: Journal) -> Keeping:
    """Return how a run that begins is recorded."""
    allowance = Allowance()
    inputs = [InputRecord.of(path, allowance, job.unusable.get(path), job.objects.get(path)) for path in job.paths]
    states = states_of(command_record(job, options), inputs)
    return Keeping(CommandJournal(journal, states), asked=place.asked, option=place.option)


def command_record(job: Job, options: RunOptions) -> CommandRecord:
    """Return what is recorded of a job; UsageError where there is no current folder."""
    settings = job.loaded.settings.model_dump(mode="json")
    return CommandRecord(
        target=job.name,
        folder=_folder(),
        output=None if options.output == DASH else options.output,
        options=to_builtins(replace(options, output=None, report=None)),
        table={name: value for name, value in settings.items() if _is_recorded(job, name)},
        steps=[StepRecord.of(step) for step in job.pipeline.steps],
        inputs=len(job.paths),
        python=python_version(),
        lists=[kind for kind in ("sinks", "probes", "hooks") if job.loaded.is_list(kind)],
    )


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        raise UsageError(
            f"the current folder is gone, and a recorded run could not be resumed from it: {error.strerror}; "
            "change to another, or run with --no-journal"
        ) from error


def _is_recorded(job: Job, name: str) -> bool:
    return job.loaded.origin(name).layer != "default" and name not in ("journal", "journals")


def _note_dangling(count: int) -> None:
    if count:
        links = "1 link leads" if count == 1 else f"{count} links lead"
        say(f"note: {links} nowhere below the folders given: passed over")


def perform(job: Job, output: Output) -> int:
    """Do the job, and return the exit code."""
    from longshore.cli.work import work  # only a run needs the pool

    _show_what_workers_print()
    return _to_end(work(job, output))


def _to_end(working: Coroutine[Any, Any, ExitCode]) -> ExitCode:  # Any: a coroutine's, which nobody uses
    """Run it on a loop of its own; LongshoreError where what it called wanted the whole process to exit."""
    try:
        return asyncio.run(working)
    except SystemExit as error:
        raise LongshoreError(
            f"the run was ended by something it called that raised SystemExit({error.code!r}): raise an exception "
            "instead, which costs one input"
        ) from error


def _show_what_workers_print() -> None:
    """Have what the user's code prints in worker processes, which comes as log records, shown on stderr."""
    logging.basicConfig(format="%(message)s")  # on the root logger, where a live view finds it and prints above itself
    logging.getLogger("longshore.worker").setLevel(logging.INFO)


def _plan(job: Job, lines: Lines) -> int:
    say(f"{job.name}: {len(job.paths)} inputs, nothing is run")
    settings = job.settings
    for stage in plan(job.pipeline, str(settings.executor), settings.workers.default_timeout):
        said = {name: value for name, value in asdict(stage).items() if value not in (None, {}, ())}
        if stage.after:
            said["after"] = "+".join(stage.after)
        del said["name"]
        say(f"  {stage.name}: {', '.join(f'{name}={value}' for name, value in said.items())}")
    for path, reason in job.unusable.items():
        say(f"  {path}: {reason}")
    for path in job.usable:
        lines.write_name(path)
    return ExitCode.OK
