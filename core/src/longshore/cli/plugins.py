"""`longshore plugins`: what is installed and in which state; `list` and `info` import no plugin."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter
from msgspec.structs import asdict

from longshore._plugins.advice import nearest
from longshore._plugins.facts import normalised
from longshore.cli.console import ExitCode, UsageError, safe, say, show, show_json, show_table
from longshore.cli.options import Json, KindName
from longshore.errors import SettingsError
from longshore.hookspecs import KINDS, PROJECT
from longshore.plugins import Candidate, CheckResult, PluginHost, PluginState
from longshore.settings import Settings, load_settings


def list_(
    kind: Annotated[KindName | None, Parameter(show_choices=False, help="Only this kind, such as `sinks`.")] = None,
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
    only = None if kind is None else kind_of(kind)
    found: Sequence[Candidate | CheckResult] = host.check(only) if load else host.candidates(only)
    for problem in host.problems():
        say(f"note: {problem}")
    show_found(found, json=json)
    return ExitCode.OK if found else ExitCode.NOTHING


def info(name: Annotated[str, Parameter(help="The plugin's name, or `kind:name`.")], /, *, json: Json = False) -> int:
    """Tell all that is known of a plugin without importing it.

    For example: `longshore plugins info jsonl`
    """
    found = candidates_of(host_of_settings(), name)
    if json:
        show_json([facts(candidate) for candidate in found])
        return ExitCode.OK
    for candidate in found:
        for field, value in facts(candidate).items():
            if value:
                show(safe(f"{field + ':':14}{value}"))
        show("")
    return ExitCode.OK


def kind_of(given: str) -> str:
    """Return the kind that is meant, in the plural; UsageError names those there are."""
    for kind in (given, f"{given}s"):
        if kind in KINDS:
            return kind
    near = nearest(given, KINDS)
    hint = f"did you mean {near}?" if near else f"there are {', '.join(KINDS)}"
    raise UsageError(f"there is no kind of plugin {given!r}: {hint}")


def not_wanted(result: CheckResult) -> bool:
    """Tell whether settings forbid a plugin: then it need not work."""
    return result.state is PluginState.DISABLED


def host_of_settings() -> PluginHost:
    """Return a host under the policy of the settings; under none, which is said, where they are wrong."""
    return PluginHost(_settings().plugins)


def _settings() -> Settings:
    try:
        return load_settings().settings
    except SettingsError as error:  # settings that are wrong must not hide the plugins
        say(f"note: the settings are not used: {error}")
        return Settings()


def candidates_of(host: PluginHost, name: str) -> list[Candidate]:
    """Return the plugins of this name, which may be `kind:name`; UsageError says why there is none, and which are."""
    kind, colon, short = name.rpartition(":")
    found = [each for each in host.candidates(kind_of(kind) if colon else None) if each.name == short]
    if not found:
        if not colon and _is_installed(name):
            raise UsageError(f"{name} is installed, and has no plugins: {_why_none(host, name)}")
        names = sorted({candidate.name for candidate in host.candidates()})
        raise UsageError(f"no plugin named {name!r} is installed (there are {', '.join(names) or 'none'})")
    return found


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return False
    return True


def _why_none(host: PluginHost, distribution: str) -> str:
    """Return what the metadata of a distribution without plugins say of them."""
    own = [line for line in host.problems() if normalised(line.partition(":")[0]) == normalised(distribution)]
    return "; ".join(own) or f"none of its entry points is in a group such as {PROJECT}.{KINDS[0]}"


def used(host: PluginHost) -> list[Candidate]:
    """Return the plugins that settings use, or have a table for."""
    settings = _settings()
    used = {("executors", settings.executor), ("journals", settings.journal)}
    used |= {(kind, name) for kind in ("sinks", "probes", "hooks") for name in getattr(settings, kind)}
    used |= {(kind, name) for kind in KINDS for name in settings.tables(kind)}
    return [candidate for candidate in host.candidates() if (candidate.kind, candidate.name) in used]


def facts(found: Candidate | CheckResult) -> dict[str, object]:
    """Return what is known of a plugin, for JSON."""
    return {**asdict(found), "state": found.state.value}


def show_found(found: Sequence[Candidate | CheckResult], *, json: bool) -> None:
    """Print plugins and how they are, as a table or as JSON."""
    if json:
        show_json([facts(each) for each in found])
        return
    rows = [(each.kind, each.name, each.distribution, each.version, each.state.value, each.reason) for each in found]
    show_table(("KIND", "NAME", "DISTRIBUTION", "VERSION", "STATE", "REASON"), rows)
