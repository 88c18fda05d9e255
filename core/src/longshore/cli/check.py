"""`longshore plugins check`: whether plugins work, each in a process of its own.

By a plugin's name it is loaded; by its distribution's name its load is timed as well, and the suite of its kind runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from longshore.cli.closely import check_closely
from longshore.cli.console import ExitCode, UsageError, show
from longshore.cli.options import Json
from longshore.cli.plugins import candidates_of, host_of_settings, not_wanted, show_found, used
from longshore.plugins import Candidate, PluginHost

Name = Annotated[str | None, Parameter(help="The plugin's name, `kind:name`, or that of an installed distribution.")]
All = Annotated[bool, Parameter(name="--all", negative=(), show_default=False, help="Check every installed plugin.")]
Suite = Annotated[
    bool,
    Parameter(
        negative=(),
        show_default=False,
        help="Time the load, and run the suite of its kind, which needs pytest; for a distribution always.",
    ),
]
BudgetMs = Annotated[
    float, Parameter(help="Milliseconds that a plugin may take to load, beyond longshore itself: `--budget-ms 100`.")
]
Set = Annotated[
    tuple[str, ...],
    Parameter(
        name="--set",
        negative=(),
        show_default=False,
        help="A setting that the plugin is made with in its suite, may be repeated; your own settings are not used "
        'there: `--set sinks.chat.url="http://127.0.0.1:9"`.',
    ),
]


def check(
    name: Name = None,
    /,
    *,
    all_: All = False,
    suite: Suite = False,
    budget_ms: BudgetMs = 50.0,
    set_: Set = (),
    json: Json = False,
) -> int:
    """Load plugins in a process of their own and name what is wrong with them; without a name, those the settings use.

    For a distribution, or with `--suite`, it also measures how long each takes to load, names what is heavy in that,
    and runs the tests that every plugin of its kind keeps, with the plugin's default settings, in a temporary folder.

    Ends with 4 when one cannot be used, is too slow to load or fails a test, and with 2 when it lacks settings. For
    example: `longshore plugins check rich`, `longshore plugins check --all`, and while you write one of your own:
    `longshore plugins check longshore-chat`
    """
    if not budget_ms > 0:
        raise UsageError(f"--budget-ms {budget_ms:g}: it is milliseconds, and more than 0")
    host = host_of_settings()
    wanted = _wanted(host, name, all_=all_)
    if suite or (name is not None and host.of_distribution(name)):
        return check_closely(host, wanted, budget_ms, set_, json=json)
    if all_ and name is None:
        results = host.check()
    else:
        results = [result for candidate in wanted for result in host.check(candidate.kind, candidate.name)]
    show_found(results, json=json)
    for result in results if not json else ():
        for line in result.warnings:
            show(f"{result.kind} {result.name}: {line}")
    if not results:
        return ExitCode.NOTHING
    return ExitCode.OK if all(result.ok or not_wanted(result) for result in results) else ExitCode.FAULT


def _wanted(host: PluginHost, name: str | None, *, all_: bool) -> Sequence[Candidate]:
    if name is not None:
        return host.of_distribution(name) or candidates_of(host, name)
    return host.candidates() if all_ else used(host)
