"""`longshore plugins`: what is installed and in which state; `list` and `info` import no plugin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter
from msgspec.structs import asdict

from longshore.cli.console import ExitCode, UsageError, safe, say, show, show_json, show_table
from longshore.cli.options import Json
from longshore.errors import SettingsError
from longshore.hookspecs import KINDS
from longshore.plugins import Candidate, CheckResult, PluginHost, PluginState
from longshore.settings import Settings, load_settings


def list_(
    kind: Annotated[str | None, Parameter(help="Only this kind, such as `sinks`.")] = None,
    *,
    load: Annotated[
        bool,
        Parameter(negative=(), show_default=False, help="Load each one in a process of its own, and say how it went."),
    ] = False,
    json: Json = False,
) -> int:
    """List all installed plugins with their state and the reason for it; imports none of them.

    For example: `longshore plugins list executors`
    """
    host = host_of_settings()
    found: Sequence[Candidate | CheckResult] = host.check(kind) if load else host.candidates(kind)
    for problem in host.problems():
        say(f"note: {problem}")
    _show(found, json=json)
    return ExitCode.OK if found else ExitCode.NOTHING


def info(name: Annotated[str, Parameter(help="The plugin's name, or `kind:name`.")], /, *, json: Json = False) -> int:
    """Tell all that is known of a plugin without importing it.

    For example: `longshore plugins info jsonl`
    """
    found = _named(host_of_settings(), name)
    if json:
        show_json([_facts(candidate) for candidate in found])
        return ExitCode.OK
    for candidate in found:
        for field, value in _facts(candidate).items():
            if value:
                show(safe(f"{field + ':':14}{value}"))
        show("")
    return ExitCode.OK


def check(
    name: Annotated[str | None, Parameter(help="The plugin's name, or `kind:name`.")] = None,
    /,
    *,
    all_: Annotated[
        bool, Parameter(name="--all", negative=(), show_default=False, help="Check every installed plugin.")
    ] = False,
    json: Json = False,
) -> int:
    """Load plugins in a process of their own and name what is wrong with them; without a name, those the settings use.

    Ends with 4 when one cannot be used. For example: `longshore plugins check rich`, `longshore plugins check --all`
    """
    host = host_of_settings()
    if all_:
        results = host.check()
    else:
        wanted = _named(host, name) if name is not None else _used(host)
        results = [result for candidate in wanted for result in host.check(candidate.kind, candidate.name)]
    _show(results, json=json)
    if not results:
        return ExitCode.NOTHING
    return ExitCode.OK if all(result.ok or _not_wanted(result) for result in results) else ExitCode.FAULT


def _not_wanted(result: CheckResult) -> bool:
    return result.state is PluginState.DISABLED


def host_of_settings() -> PluginHost:
    return PluginHost(_settings().plugins)


def _settings() -> Settings:
    try:
        return load_settings().settings
    except SettingsError as error:  # settings that are wrong must not hide the plugins
        say(f"note: the settings are not used: {error}")
        return Settings()


def _named(host: PluginHost, name: str) -> list[Candidate]:
    kind, colon, short = name.rpartition(":")
    found = [each for each in host.candidates(kind if colon else None) if each.name == short]
    if not found:
        names = sorted({candidate.name for candidate in host.candidates()})
        raise UsageError(f"no plugin named {name!r} is installed (there are {', '.join(names) or 'none'})")
    return found


def _used(host: PluginHost) -> list[Candidate]:
    settings = _settings()
    used = {("executors", settings.executor), ("journals", settings.journal)}
    used |= {(kind, name) for kind in ("sinks", "probes", "hooks") for name in getattr(settings, kind)}
    used |= {(kind, name) for kind in KINDS for name in settings.tables(kind)}
    return [candidate for candidate in host.candidates() if (candidate.kind, candidate.name) in used]


def _facts(found: Candidate | CheckResult) -> dict[str, object]:
    return {**asdict(found), "state": found.state.value}


def _show(found: Sequence[Candidate | CheckResult], *, json: bool) -> None:
    if json:
        show_json([_facts(each) for each in found])
        return
    rows = [(each.kind, each.name, each.distribution, each.version, each.state.value, each.reason) for each in found]
    show_table(("KIND", "NAME", "DISTRIBUTION", "VERSION", "STATE", "REASON"), rows)
