"""`longshore top`: a run in tables that go on while it does."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from longshore.cli.console import ExitCode, UsageError
from longshore.cli.journals import find_run, open_archive
from longshore.cli.options import JournalPath
from longshore.cli.watched import JournalRun, Watched, WebRun
from longshore.errors import LongshoreError

_MISSING = "longshore top draws with textual, which is not installed: pip install 'longshore-core[top]'"

RunOrLink = Annotated[
    str,
    Parameter(help="The run's id, the beginning of it, or `last`; or the link to its dashboard, as it was printed."),
]


def top(
    run: RunOrLink = "last",
    /,
    *,
    journal: JournalPath = None,
    every: Annotated[float, Parameter(help="Seconds between two looks: `--every 0.5`.")] = 1.0,
) -> int:
    """Watch a run in tables: its stages, what runs now, tasks, failures, workers.

    From its journal, also long after; or from its dashboard by the link that it printed, and then with orders to it,
    where it takes any. Keys: `1` to `5` choose a table, `/` filters, `s` sorts, `r` reverses, Enter shows a task in
    full, `p` pauses, `k` cancels the task under the cursor, `+` and `-` change the workers, `q` quits.

    For example: `longshore top last`, `longshore top http://127.0.0.1:40123/?code=…`
    """
    if not 0.1 <= every <= 3600:
        raise UsageError(f"--every is a number of seconds from 0.1 to 3600, not {every}")
    try:
        from longshore.cli.topapp import TopApp
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "textual":
            raise
        raise UsageError(_MISSING) from None
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("longshore top needs a terminal; `longshore report` and `longshore runs show` print")
    TopApp(watched(run, journal), every).run()
    return ExitCode.OK


def watched(run: str, journal: str | None) -> Watched:
    """Return what is to be watched; UsageError for what there is not."""
    if "://" in run:
        if journal is not None:
            raise UsageError("--journal names where recorded runs are, and a link needs none")
        try:
            return WebRun(run)
        except (ConnectionError, FileNotFoundError) as error:
            raise LongshoreError(str(error)) from error
    archive, _ = open_archive(journal)
    return JournalRun(archive, find_run(archive, run).run_id)
