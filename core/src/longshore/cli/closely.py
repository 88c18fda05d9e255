"""A plugin looked at closely: loaded, its load timed, the suite of its kind run; called by `plugins check`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct, to_builtins

from longshore.cli.console import ExitCode, UsageError, safe, say, show, show_json, show_table
from longshore.cli.plugins import facts, not_wanted
from longshore.cli.progress import Progress
from longshore.plugins import Candidate, CheckResult, LoadTime, PluginHost
from longshore.settings import recorded_settings
from longshore.testing._suites import SuiteResult, TestRow, has_pytest, has_suite, read_pipeline, run_suite

_SUITE_S: Final = 600.0
"""How long one suite may take: a plugin may hang where no test can end it."""
_FAILED_SHOWN: Final = 10
_OUTCOMES: Final = ("passed", "failed", "skipped")


class Checked(Struct, frozen=True, kw_only=True):
    """A plugin that was looked at closely."""

    result: CheckResult
    load: LoadTime | None
    budget_ms: float
    suite: SuiteResult | None
    """None where its kind has none, or it could not be loaded."""
    given: bool = False
    """Whether settings were given for it."""

    @property
    def slow(self) -> bool:
        """Tell whether it takes longer to load than it may."""
        return self.load is not None and self.load.ms > self.budget_ms

    @property
    def ok(self) -> bool:
        """Tell whether there is nothing to say against it."""
        return self.result.ok and not self.slow and (self.suite is None or self.suite.ok)


def check_closely(
    host: PluginHost, wanted: Sequence[Candidate], budget_ms: float, overrides: Sequence[str], *, json: bool
) -> int:
    """Check each of these with all there is, show how they fared, and return the exit code."""
    if not has_pytest() and any(has_suite(candidate.kind) for candidate in wanted):
        raise UsageError(
            "the suites need pytest, which is not installed: pip install 'longshore-core[testing]'; "
            "`longshore plugins check` with a plugin's name, or with --all, loads plugins without it"
        )
    settings = recorded_settings({}, overrides).settings
    found = []
    for candidate in wanted:
        say(f"checking {candidate.label}")
        with Progress() as progress:
            table = settings.table(candidate.kind, candidate.name)
            found.append(_look(host, candidate, table, budget_ms, progress))
    if json:
        show_json([_as_json(one) for one in found])
    else:
        _show(found)
    return _exit_code(found)


def _exit_code(found: Sequence[Checked]) -> ExitCode:
    if not found:
        return ExitCode.NOTHING
    bad = [one for one in found if not one.ok and not not_wanted(one.result)]
    if any(one.suite is None or not one.suite.unset for one in bad):
        return ExitCode.FAULT
    return ExitCode.USAGE if bad else ExitCode.OK


def _look(
    host: PluginHost,
    candidate: Candidate,
    table: Mapping[str, Any],  # Any: TOML values
    budget_ms: float,
    progress: Progress,
) -> Checked:
    what = f"{candidate.kind} {candidate.name}"
    progress.doing(f"{what}: loading it")
    results = host.check(candidate.kind, candidate.name)
    result = next(each for each in results if each.distribution == candidate.distribution)  # two may claim the name
    if not result.ok:
        return Checked(result=result, load=None, budget_ms=budget_ms, suite=None)
    progress.doing(f"{what}: timing its load")
    load = host.load_time(candidate.kind, candidate.name, budget_ms)
    suite = None
    if candidate.kind == "pipelines":
        suite = read_pipeline(candidate.name, deadline_s=_SUITE_S)
    elif has_suite(candidate.kind):
        suite = run_suite(
            candidate, table, deadline_s=_SUITE_S, tell=lambda rows: progress.doing(f"{what}: {_standing(rows)}")
        )
    return Checked(result=result, load=load, budget_ms=budget_ms, suite=suite, given=bool(table))


def _standing(rows: Sequence[TestRow]) -> str:
    """Return in words how far a suite is."""
    if not rows:
        return "beginning its suite"
    ended = [row for row in rows if row.outcome is not None]
    failed = [row.test for row in ended if row.outcome == "failed"]
    told = f"{len(ended)} of {len(rows)} tests"
    if failed:
        told += f", {len(failed)} failed, the last {failed[-1]}"
    return told if rows[-1].outcome is not None else f"{told}, now {rows[-1].test}"


def _as_json(one: Checked) -> dict[str, object]:
    suite = one.suite
    counts = {} if suite is None else {what: suite.count(what) for what in ("passed", "failed", "skipped")}
    return {
        **facts(one.result),
        "ok": one.ok,
        "load_ms": None if one.load is None else one.load.ms,
        "budget_ms": one.budget_ms,
        "heaviest": [] if one.load is None else [{"module": name, "ms": ms} for name, ms in one.load.heaviest],
        "suite": None if suite is None else {**counts, **to_builtins(suite)},
    }


def _show(found: Sequence[Checked]) -> None:
    rows = []
    for one in found:
        result, suite = one.result, one.suite
        counts = ("", "", "") if suite is None else tuple(str(suite.count(what)) for what in _OUTCOMES)
        load = "" if one.load is None else f"{one.load.ms:.0f} ms"
        reason = result.reason or ("there is no suite for its kind" if suite is None and result.ok else "")
        rows.append((result.kind, result.name, result.state.value, load, *counts, reason))
    show_table(("KIND", "NAME", "STATE", "LOAD", *map(str.upper, _OUTCOMES), "REASON"), rows)
    for one in found:
        for text in _remarks(one):
            show(safe(f"{one.result.kind} {one.result.name}: {text}"))


def _remarks(one: Checked) -> Iterator[str]:
    """Yield what is to be said of a plugin beside its row, a line each."""
    if one.load is not None and one.slow:
        heavy = ", ".join(f"{name} {ms:.0f} ms" for name, ms in one.load.heaviest)
        yield (
            f"loading it takes {one.load.ms:.0f} ms, over the budget of {one.budget_ms:g} ms: import what it can do "
            f"without until it is used inside the method that needs it; the most is {heavy}"
        )
    yield from (f"deprecated, {line}" for line in one.result.warnings)
    if one.suite is None:
        return
    failed = [test for test in one.suite.tests if test.outcome == "failed"]
    yield from (f"{test.test} failed: {test.message}" for test in failed[:_FAILED_SHOWN])
    if len(failed) > _FAILED_SHOWN:
        yield f"{len(failed) - _FAILED_SHOWN} more failed: --json tells of each"
    reasons = Counter(test.message for test in one.suite.tests if test.outcome == "skipped")
    yield from (f"{count} skipped: {reason}" for reason, count in reasons.items())
    if one.suite.unset and one.given:
        yield f"its suite was not run, for the settings that were given do not do: {one.suite.broken}"
    elif one.suite.unset:
        example = f"--set {one.result.kind}.{one.result.name}.KEY=VALUE"
        yield f"its suite was not run, for it needs settings: {one.suite.broken}; give them by {example}"
    elif one.suite.broken:
        yield f"its suite did not come to its end: {one.suite.broken}"
