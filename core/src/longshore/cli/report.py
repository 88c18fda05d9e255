"""`longshore report`: what is to be said of a recorded run, in files for people and for programs."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Annotated, Literal

from cyclopts import Parameter

from longshore._output_file import output_file
from longshore.cli.console import DASH, ExitCode, UsageError, line, say
from longshore.cli.journals import PREVIOUS, find_run, open_archive, run_before
from longshore.cli.options import JournalPath, RunName
from longshore.hookspecs import Archive
from longshore.records import RunRecord

TraceFormat = Literal["chrome", "speedscope"]
_ENDINGS = {".html": "html", ".htm": "html", ".md": "md", ".json": "json", ".xml": "junit"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A format, and the file it goes to."""

    format: str
    file: str

    @property
    def option(self) -> str:
        """How it was asked for."""
        return f"--trace {self.format}" if self.format in ("chrome", "speedscope") else f"--{self.format}"


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """What is written, and where."""

    html: Annotated[
        str | None,
        Parameter(help="One page that needs nothing else, neither network nor server: `--html report.html`."),
    ] = None
    md: Annotated[
        str | None,
        Parameter(help='Markdown, for the summary of a CI job or a chat: `--md - >> "$GITHUB_STEP_SUMMARY"`.'),
    ] = None
    json: Annotated[
        str | None, Parameter(help="All of it as JSON, by a schema that only grows: `--json report.json`.")
    ] = None
    junit: Annotated[
        str | None, Parameter(help="What failed as JUnit XML, for the viewers of CI systems: `--junit failed.xml`.")
    ] = None
    trace: Annotated[
        tuple[tuple[TraceFormat, str], ...],
        Parameter(
            negative=(),
            show_default=False,
            help="Every attempt on its worker: `--trace chrome trace.json`, which Perfetto opens, or "
            "`--trace speedscope flame.json`; may be given twice.",
        ),
    ] = ()
    compare: Annotated[
        str | None,
        Parameter(
            help="Another run, to see what is different in it: `longshore report 20260131 --compare last`; or "
            "`previous`, to see what is different in this one from the run of the same name before it."
        ),
    ] = None
    journal: JournalPath = None

    def wanted(self) -> list[Wanted]:
        """Return formats and files; Markdown on stdout where none is named. UsageError where they can't be meant."""
        given = {name: getattr(self, name) for name in ("html", "md", "json", "junit")}
        found = [Wanted(name, file) for name, file in given.items() if file is not None]
        found += [Wanted(name, file) for name, file in self.trace]
        found = found or [Wanted("md", DASH)]
        if sum(each.file == DASH for each in found) > 1:
            raise UsageError(
                f"{' and '.join(each.option for each in found if each.file == DASH)}: one of them to stdout"
            )
        if self.compare is not None:
            for each in found:
                if each.format not in ("html", "md", "json"):
                    raise UsageError(f"{each.option} is of one run: leave out --compare")
        return found


_DEFAULTS = ReportOptions()


def report(run: RunName = "last", /, *, options: ReportOptions = _DEFAULTS) -> int:
    """Report on a run: what became of it, what it took its time for, what failed, what was slow; or compare two.

    Without a format it is Markdown on stdout; several may be given at once, and `-` is stdout.

    For example: `longshore report last`, `longshore report last --html report.html --junit failed.xml`,
    `longshore report last --compare previous --html changes.html`

    Ends with 0 whatever became of the run, and with 2 where there is no such run or a file can't be written.
    """
    wanted = options.wanted()
    archive, _ = open_archive(options.journal)
    record = find_run(archive, run)
    if options.compare is not None:
        _compare(archive, *_two(archive, record, options.compare), wanted)
    else:
        write_reports(archive, record.run_id, wanted)
    return ExitCode.OK


def _two(archive: Archive, record: RunRecord, compare: str) -> tuple[str, str]:
    """Return which run is compared with which; UsageError where there is no other one."""
    if compare == PREVIOUS:
        return run_before(archive, record).run_id, record.run_id
    other = find_run(archive, compare)
    if other.run_id == record.run_id:
        raise UsageError(
            f"--compare {compare}: that is run {record.run_id} itself; name another, of `longshore runs list`, or "
            f"`--compare {PREVIOUS}` for the one of the same name before it"
        )
    return record.run_id, other.run_id


def report_of_run(file: str) -> Wanted:
    """Return the report that a run is to write at its end; UsageError for what can be seen not to work before it."""
    wanted = Wanted(_format_of(file), file)
    target = os.path.realpath(file)
    folder = os.path.dirname(target)
    if os.path.isdir(target):
        raise UsageError(f"--report {line(file)}: that is a folder; name a file in it")
    if not os.path.isdir(folder):
        raise UsageError(f"--report {line(file)}: there is no folder {line(folder)}: make it first, or name another")
    if not os.access(target if _is_special(target) else folder, os.W_OK):
        raise UsageError(f"--report {line(file)}: it can't be written there: name a file in a folder that is yours")
    return wanted


def write_reports(archive: Archive, run_id: str, wanted: Sequence[Wanted]) -> None:
    """Write the report on a run; UsageError where a file can't be written, JournalError where the run is damaged."""
    from longshore._report.gather import report as report_of
    from longshore._report.opening import opened
    from longshore._report.writing import REPORTS

    with opened(archive, run_id) as source:
        made = report_of(source)
        for each in wanted:
            _write(each, REPORTS[each.format](source, made))


def _format_of(file: str) -> str:
    """Return the format that a file's ending names; UsageError where it names none."""
    ending = os.path.splitext(file)[1].lower()
    if ending not in _ENDINGS:
        raise UsageError(f"--report {file}: end it with {', '.join(_ENDINGS)}, which says what is written")
    return _ENDINGS[ending]


def _compare(archive: Archive, first: str, second: str, wanted: Sequence[Wanted]) -> None:
    from longshore._report.compare import compare
    from longshore._report.gather import report as report_of
    from longshore._report.opening import opened
    from longshore._report.writing import COMPARISONS

    with opened(archive, first) as one, opened(archive, second) as other:
        comparison = compare((one, report_of(one)), (other, report_of(other)))
    for each in wanted:
        _write(each, COMPARISONS[each.format](comparison))


def _write(wanted: Wanted, pieces: Iterable[str]) -> None:
    """Write a file, whole or not at all; to what is no regular file, such as a pipe, as it comes."""
    if wanted.file == DASH:
        _to(getattr(sys.stdout, "buffer", None), pieces)
        return
    try:
        if _is_special(wanted.file):
            with open(wanted.file, "wb") as file:
                _to(file, pieces)
        else:
            with output_file(wanted.file, "wb", None, None, _nothing) as file:
                _to(file, pieces)
    except OSError as error:
        raise UsageError(f"cannot write {line(wanted.file)}: {error.strerror or error}") from error
    say(f"longshore: {wanted.option.removeprefix('--')} written to {wanted.file}")


def _to(file: IO[bytes] | None, pieces: Iterable[str]) -> None:
    """Write text as UTF-8; without a file, to a stdout that takes text only."""
    put: Callable[[str], object] = sys.stdout.write if file is None else lambda text: file.write(text.encode())
    for piece in pieces:
        put(piece)
    (file or sys.stdout).flush()


def _is_special(file: str) -> bool:
    try:
        return not stat.S_ISREG(os.stat(file).st_mode)
    except OSError:
        return False


def _nothing() -> None:
    """Publish it whatever has happened meanwhile."""
