"""The options of `longshore run`, each with the words and the example that its help shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Parameter

Order = Literal["given", "largest-first"]
Progress = Literal["auto", "live", "lines", "json", "none"]
# Shells offer the words of a literal; that others are taken too, such as a plugin's, is said by the `str` beside it.
ExecutorName = Literal["processes", "threads", "asyncio", "inline", "dask", "ray"] | str
SinkName = Literal["rich", "jsonl", "dashboard", "otel", "prometheus"] | str
KindName = Literal["executors", "probes", "sinks", "journals", "processors", "pipelines", "hooks"] | str

Json = Annotated[bool, Parameter(name="--json", negative=(), show_default=False, help="Print JSON instead of text.")]
Set = Annotated[
    tuple[str, ...],
    Parameter(
        name="--set",
        negative=(),
        show_default=False,
        help="Set one value for this call, may be repeated: `--set preset=throughput` (or lean: how much of the "
        "machine is used), `--set workers.thread_workers=4`. `longshore config show` lists all keys.",
    ),
]
RunName = Annotated[str, Parameter(help="The run's id, the beginning of it, or `last`.")]
JournalPath = Annotated[
    str | None,
    Parameter(
        help="The folder of recorded runs: `--journal ~/runs`. Left out: the one that settings name, else the "
        "platform's folder for the state of programs."
    ),
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run goes."""

    output: Annotated[
        str | None,
        Parameter(
            name=["--output", "-o"],
            help="Where the results go, one JSON line an input: `-o out.jsonl`; left out: stdout.",
        ),
    ] = None
    executor: Annotated[
        ExecutorName | None,
        Parameter(
            show_choices=False,
            help="Where it all runs: processes (a crash costs one input), threads, asyncio (for coroutines), inline "
            "(one after the other, in this process) or a plugin's: `--executor threads`.",
        ),
    ] = None
    workers: Annotated[int | None, Parameter(help="How many run at once, in each executor used: `--workers 8`.")] = None
    timeout: Annotated[float | None, Parameter(help="Seconds one try at a task may take: `--timeout 30`.")] = None
    soft_timeout: Annotated[
        float | None,
        Parameter(help="Seconds after which a try is said to be overdue, and goes on: `--soft-timeout 10`."),
    ] = None
    retries: Annotated[int | None, Parameter(help="How often a failed task is tried again: `--retries 2`.")] = None
    order: Annotated[
        Order,
        Parameter(
            help="Which inputs begin first; `--order largest-first` ends sooner where they differ a lot: by how long "
            "they took in earlier runs, else by size."
        ),
    ] = "given"
    max_failures: Annotated[
        str | None,
        Parameter(help="Stop once so many inputs have failed: `--max-failures 10`, or `5%` of all inputs."),
    ] = None
    grace: Annotated[
        float | None,
        Parameter(
            help="Seconds that what runs may go on after Ctrl-C or SIGTERM, before it is ended: `--grace 20`. Left "
            "out: 5 after SIGTERM, as long as it takes after Ctrl-C, which can be pressed again."
        ),
    ] = None
    set_: Set = ()
    profile: Annotated[
        bool,
        Parameter(
            negative=(),
            show_default=False,
            help="Leave a profile of where the time of each of the first 100 tasks went, and say where: `--profile`.",
        ),
    ] = False
    sink: Annotated[
        tuple[SinkName, ...],
        Parameter(
            negative=(),
            show_default=False,
            show_choices=False,
            help="Tell this sink plugin too, may be repeated: `--sink jsonl`.",
        ),
    ] = ()
    dashboard: Annotated[
        bool,
        Parameter(
            negative=(),
            show_default=False,
            help="Show the run in the browser too, by a link that is printed; short for `--sink dashboard`.",
        ),
    ] = False
    progress: Annotated[
        Progress,
        Parameter(help="How progress is shown on stderr: a live view, lines for a log, JSON: `--progress lines`."),
    ] = "auto"
    journal: JournalPath = None
    no_journal: Annotated[
        bool,
        Parameter(
            name="--no-journal", negative=(), show_default=False, help="Record nothing: the run can't be resumed."
        ),
    ] = False
    report: Annotated[
        str | None,
        Parameter(
            help="Where a report on the run goes at its end, by its ending one of html, md, json, xml (JUnit): "
            "`--report report.html`. `longshore report` writes one later, too."
        ),
    ] = None
    dry_run: Annotated[
        bool,
        Parameter(
            negative=(),
            show_default=False,
            help="Say what would be done, print the inputs on stdout, and run nothing: `--dry-run`.",
        ),
    ] = False

    @property
    def sinks(self) -> tuple[str, ...]:
        """The sinks that are asked for beside those of the settings."""
        return (*self.sink, "dashboard") if self.dashboard else self.sink


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """What is measured, and how often."""

    executor: Annotated[
        tuple[ExecutorName, ...],
        Parameter(
            negative=(),
            show_choices=False,
            show_default=False,
            help="Measure this one only, may be repeated: `--executor threads`. Left out: each that can run the work.",
        ),
    ] = ()
    workers: Annotated[
        int | None,
        Parameter(help="The most workers to try: `--workers 8`. Left out: the usable CPUs, and more while that pays."),
    ] = None
    rounds: Annotated[
        int | None, Parameter(help="How often all is measured, for the spread: `--rounds 5`. Left out: 3.")
    ] = None
    quick: Annotated[
        bool,
        Parameter(negative=(), show_default=False, help="One short round: a first impression within seconds."),
    ] = False
    set_: Set = ()
    json: Json = False
