"""`longshore run`: a pipeline or a function over many inputs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import replace
from typing import Annotated, Any

from cyclopts import Parameter
from msgspec.structs import asdict

from longshore.cli.console import DASH, ExitCode, say
from longshore.cli.inputs import expand, names_on_stdin, ordered
from longshore.cli.job import Job, make_job
from longshore.cli.lines import Lines, output_file, stdout_for_data
from longshore.cli.options import RunOptions
from longshore.errors import LongshoreError
from longshore.pipeline import plan

_DEFAULTS = RunOptions()


def run(
    target: Annotated[str, Parameter(help="A pipeline, such as `documents`, or your own `module:function`.")],
    /,
    *inputs: Annotated[
        str,
        Parameter(help="Files, folders (every file below), patterns such as `'scans/*.pdf'`, or `-`: names on stdin."),
    ],
    options: RunOptions = _DEFAULTS,
) -> int:
    """Run a pipeline, or a function of yours, on each input, and write one JSON line for each.

    A function is called with the input's path; what it returns is the result. It runs in worker processes, so that a
    crash or a time-out costs one input; a coroutine function runs on asyncio.

    Three ways to call it:

    `longshore run documents papers/ -o out.jsonl`

    `longshore run mymodule:count 'logs/*.txt' --timeout 30 --retries 2 --max-failures 5%`

    `find . -name '*.pdf' | longshore run documents - --order largest-first -o out.jsonl`

    A line is `{"input": ..., "status": "completed", "result": ..., "error": null}`; what a function returns must be
    JSON. What else may be set stands in longshore.toml or in pyproject.toml: see `longshore config --help`.

    Ends with 0 when all went well, 1 when some inputs failed, 2 for wrong arguments or settings, 3 when stopped by
    `--max-failures`, 4 for a fault of longshore or a plugin, 5 when there is nothing to do, 130 or 143 after a signal.
    Ctrl-C lets running tasks end and stops; a second one stops at once.
    """
    file = None if options.output in (None, DASH) else options.output
    found = expand(inputs, names_on_stdin, file)
    _note_dangling(found.dangling)
    paths = [*ordered(found.paths, options.order), *found.unusable]
    with stdout_for_data() as data:
        job = replace(make_job(target, paths, options), unusable=found.unusable)
        if not paths:
            say("longshore: there is nothing to do: no input is a file, or has one below it")
            return ExitCode.NOTHING
        return _plan(job, Lines(data)) if options.dry_run else _run(job, file, data)


def _note_dangling(count: int) -> None:
    if count:
        links = "1 link leads" if count == 1 else f"{count} links lead"
        say(f"note: {links} nowhere below the folders given: passed over")


def _run(job: Job, file: str | None, data: int) -> int:
    from longshore.cli.work import work  # only a run needs the pool

    _show_what_workers_print()
    if file is None:
        return _to_end(work(job, Lines(data)))
    with output_file(file) as opened:
        return _to_end(work(job, Lines(opened, anew=True)))


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
