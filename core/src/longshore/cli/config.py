"""`longshore config`: the settings, where each comes from, and what may be set."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterator
from typing import Annotated

from cyclopts import Parameter
from pydantic import BaseModel, ValidationError

from longshore._pipeline_tables import load_pipeline
from longshore._schemas import editor_schema
from longshore._setup import values
from longshore.cli import console
from longshore.cli.console import ExitCode, say
from longshore.cli.named import Named
from longshore.cli.options import Json, Set
from longshore.errors import LongshoreError, PluginError, SettingsError
from longshore.hookspecs import KINDS
from longshore.plugins import PluginHost, PluginState
from longshore.settings import LoadedSettings, load_settings, settings_schema


def show(
    *,
    origin: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Say beside each value where it comes from.")
    ] = False,
    json: Json = False,
    set_: Set = (),
) -> int:
    """Print all settings as they would be used here; what looks like a secret is hidden.

    For example: `longshore config show --origin`
    """
    loaded = _load(set_)
    shown = dict(values(loaded.settings.model_dump(mode="json")))
    if json:
        told = {key: {"value": value} for key, value in shown.items()}
        if origin:
            told = {key: {**entry, "origin": _origin(loaded, key)} for key, entry in told.items()}
        console.show_json(told)
        return ExitCode.OK
    for key, value in shown.items():
        text = console.line(f"{key} = {json_module.dumps(value)}")
        console.show(f"{text:50}  # {console.line(str(loaded.origins[key]))}" if origin else text)
    return ExitCode.OK


def schema(
    *,
    for_editors: Annotated[
        bool,
        Parameter(
            negative=(), show_default=False, help="As draft 7, which editors of TOML and validate-pyproject read."
        ),
    ] = False,
) -> int:
    """Print the JSON Schema of the settings, with those of all installed plugins; imports the plugins.

    For example: `longshore config schema --for-editors > longshore.schema.json`, and in longshore.toml the first line
    `#:schema ./longshore.schema.json`.
    """
    models: dict[tuple[str, str], type[BaseModel]] = {}
    host = PluginHost(_load(()).settings.plugins)
    for candidate in host.candidates():
        if candidate.state is PluginState.AVAILABLE and candidate.kind != "pipelines":
            model = _model(host, candidate.kind, candidate.name)
            if model is not None:
                models[candidate.kind, candidate.name] = model
    console.show_json(editor_schema(models) if for_editors else settings_schema(models))
    return ExitCode.OK


def validate(*, set_: Set = ()) -> int:
    """Check all settings, the names of plugins in them, and the tables of plugins and pipelines.

    Imports the plugins that have a table, and no other.

    Ends with 2 and names file, line and key of everything wrong. For example: `longshore config validate`
    """
    loaded = _load(set_)
    host = PluginHost(loaded.settings.plugins)
    for note in host.problems():
        say(f"note: {note}")
    problems = list(_problems(loaded, host))
    for problem in problems:
        say(f"longshore: {problem}")
    if not problems:
        console.show("The settings are sound.")
    return ExitCode.USAGE if problems else ExitCode.OK


def _load(overrides: tuple[str, ...]) -> LoadedSettings:
    loaded = load_settings(overrides=overrides)
    for warning in loaded.warnings:
        say(f"note: {warning}")
    return loaded


def _origin(loaded: LoadedSettings, key: str) -> dict[str, object]:
    origin = loaded.origins[key]
    return {
        "layer": origin.layer,
        "file": str(origin.file) if origin.file else None,
        "line": origin.line,
        "name": origin.name,
    }


def _model(host: PluginHost, kind: str, name: str) -> type[BaseModel] | None:
    try:
        return getattr(host.load(kind, name), "Settings", None)
    except PluginError as error:
        say(f"note: {error}")
        return None


def _problems(loaded: LoadedSettings, host: PluginHost) -> Iterator[LongshoreError]:
    installed = {(candidate.kind, candidate.name) for candidate in host.candidates()}
    for kind in KINDS:
        for name, table in loaded.settings.tables(kind).items():
            model = _model(host, kind, name) if table and (kind, name) in installed else None
            try:
                if model is not None:
                    model.model_validate(table)
            except ValidationError as error:
                yield loaded.refusal(error, model or BaseModel, kind, name)
    named = Named(loaded, host)
    yield from named.problems()
    for name in loaded.settings.pipelines:
        try:
            yield from named.problems_of(load_pipeline(name, loaded, host))
        except SettingsError as error:
            yield error
