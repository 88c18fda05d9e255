"""Settings: what may be set, where from, and what is wrong with it.

`Settings` is the whole as one frozen model; `load_settings` reads it from files, environment and arguments,
and knows where each value came from. docs/decisions/0004-settings.md tells of the two forms of `sinks`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationError,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic_core import ErrorDetails

from longshore._cadence import AlertSettings, HealthSettings, HistorySettings
from longshore._faults import entry_of, message_of
from longshore._limits import PRESETS, BreakerSettings, ResourceLimits, ResourceType, WorkerConfig, under_preset
from longshore._plugins.advice import nearest, unknown_plugin
from longshore._sources import LISTED, Key, Layer, Merged, Origin, merge, read_layers
from longshore.errors import SettingsError
from longshore.hookspecs import KINDS
from longshore.plugins import PluginHost, PluginPolicy

Options = dict[str, Any]  # Any: TOML values, checked by the plugin's own model


def _names(value: object) -> object:
    """Return the enabled names of a list, or of a table of tables."""
    if not isinstance(value, Mapping):
        return tuple(value) if isinstance(value, list) else value
    for name, table in value.items():
        if not isinstance(table, Mapping):
            raise ValueError(f"the entry {name!r} must be a table with the plugin's options")
        if not isinstance(table.get("enabled", True), bool):
            raise ValueError(f"enabled of {name!r} must be true or false")
    return tuple(_enabled(value))


def _enabled(tables: Mapping[str, Any]) -> list[str]:  # Any: TOML values
    return [name for name, table in tables.items() if table.get("enabled", True)]


def _journal(value: object) -> object:
    if value is None or value is False or isinstance(value, str):
        return value
    raise ValueError('must be the name of a journal, such as "sqlite", or false')


def _preset(value: object) -> object:
    if value is None or (isinstance(value, str) and value in PRESETS):
        return value
    near = nearest(str(value), PRESETS)
    meant = f" (did you mean {near!r}?)" if near else ""
    raise ValueError(f"must be one of {', '.join(PRESETS)}{meant}")


def _less_enabled(table: Mapping[str, Any]) -> Options:  # Any: TOML values
    return {key: value for key, value in table.items() if key != "enabled"}


Names = Annotated[
    tuple[str, ...],
    BeforeValidator(_names),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "string"}},
                {"type": "object", "additionalProperties": {"type": "object"}},
            ]
        },
        mode="validation",
    ),
]
"""Plugin names: given as a list, or as a table with a table of options per plugin."""
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_ENABLED = {
    "type": "boolean",
    "default": True,
    "title": "Enabled",
    "description": "Whether it is used; false keeps its table",
}


class ResultLimits(BaseModel):
    """How long and how many results of `submit_task` are kept; frozen, unknown keys are refused.

    Those that were read go first. One that nobody has read goes only by its age or for the bytes, never for their
    number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep_s: float = Field(default=3600.0, gt=0, description="Seconds a result is kept, from its end or last reading")
    max_count: int = Field(default=10_000, ge=1, description="Results that are kept, unless nobody has read them")
    max_mb: float = Field(default=256.0, gt=0, description="MB that results may hold together")


class Settings(BaseModel):
    """All settings; frozen, and unknown keys are refused.

    `preset` names what worker counts and limits are where nothing else sets them: "default", "throughput" (more of
    both) or "lean" (less). `sinks`, `probes` and `hooks` take a list of plugin names, or a table with each plugin's
    options under its name, where `enabled = false` only configures. Read a plugin's own options with `table`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Annotated[
        str | None, BeforeValidator(_preset), WithJsonSchema({"enum": [*PRESETS, None]}, mode="validation")
    ] = Field(default=None, description="Where workers and limits say nothing: default, throughput or lean")
    executor: str | None = Field(default=None, description="Where work runs that names no executor")
    sinks: Names = Field(default=(), description="Who is told of a run", examples=[["rich", "jsonl"]])
    probes: Names = Field(default=("psutil",), description="What reads the machine's resources")
    hooks: Names = Field(default=(), description="Hook plugins to load")
    journal: Annotated[str | Literal[False] | None, BeforeValidator(_journal)] = Field(
        default=None, description="Where outcomes are kept, or false"
    )
    profile: bool = Field(default=False, description="Whether each task leaves a profile of where its time went")
    submit_timeout: float = Field(default=30.0, gt=0, description="Seconds submit_task waits for room")
    plugins: PluginPolicy = Field(default_factory=PluginPolicy, description="Which plugins may be loaded")
    workers: WorkerConfig = Field(default_factory=WorkerConfig, description="Worker counts, queues and times")
    limits: ResourceLimits = Field(default_factory=ResourceLimits, description="What of the machine may be used")
    breaker: BreakerSettings | None = Field(default=None, description="When what fails is held back; none: never")
    results: ResultLimits = Field(default_factory=ResultLimits, description="How long results of submit_task are kept")
    health: HealthSettings = Field(default_factory=HealthSettings, description="When a pool looks after itself")
    alerts: AlertSettings = Field(default_factory=AlertSettings, description="What people are alerted of")
    history: HistorySettings = Field(default_factory=HistorySettings, description="How much of a run is remembered")
    pipelines: dict[str, Options] = Field(default={}, description="Pipelines by name")
    executors: dict[str, Options] = Field(default={}, description="Options of executors by name")
    journals: dict[str, Options] = Field(default={}, description="Options of journals by name")
    processors: dict[str, Options] = Field(default={}, description="Options of processors by name")

    _tables: dict[str, dict[str, Options]] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _keep_tables(cls, data: Any, handler: Any) -> Settings:  # Any: unchecked input, pydantic's own handler
        made: Settings = handler(under_preset(data) if isinstance(data, Mapping) else data)
        if isinstance(data, Mapping):
            for kind in LISTED:
                given = data.get(kind)
                tables = given.items() if isinstance(given, Mapping) else ()
                made._tables[kind] = {name: _less_enabled(table) for name, table in tables}
        return made

    @model_serializer(mode="wrap")
    def _with_tables(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:  # Any: JSON-safe values
        whole: dict[str, Any] = handler(self)  # Any: as above
        for kind, tables in self._tables.items():
            if any(tables.values()) or set(tables) - set(whole[kind]):
                order = dict.fromkeys((*whole[kind], *tables))
                whole[kind] = {n: {**tables.get(n, {}), "enabled": n in whole[kind]} for n in order}
        return whole

    def table(self, kind: str, name: str) -> Options:
        """Return a copy of the options given to one plugin; empty where there are none."""
        return dict(self.tables(kind).get(name, {}))

    def tables(self, kind: str) -> Mapping[str, Options]:
        """Return the options of all plugins of a kind that have any, by name."""
        if kind in LISTED:
            return self._tables.get(kind, {})
        kept = {"executors": self.executors, "journals": self.journals, "processors": self.processors}
        return kept.get(kind, {})


class LoadedSettings:
    """Settings, and where each came from."""

    def __init__(self, settings: Settings, merged: Merged, warnings: Sequence[str] = ()) -> None:
        """Keep what `load_settings` made."""
        self.settings = settings
        self.warnings = tuple(warnings)
        self._merged = merged

    @cached_property
    def origins(self) -> Mapping[str, Origin]:
        """The origin of each value by its dotted key, such as "workers.async_workers"."""
        owners = self._merged.owners
        keys = leaves(self.settings.model_dump(mode="json"))
        return {".".join(key): owners[key].origin(key) if key in owners else Origin("default") for key in keys}

    def origin(self, *key: str) -> Origin:
        """Return where a key, or the nearest key around it, was set."""
        owner = self._merged.owner(key)
        return owner.origin(key) if owner else Origin("default")

    def is_list(self, kind: str) -> bool:
        """Tell whether a source chose by a list which plugins of a kind there are; tables alone add to the usual ones.

        `kind` is one that takes either: "sinks", "probes" or "hooks".
        """
        owner = self._merged.owners.get((kind,))
        return owner is not None and isinstance(owner.table.get(kind), list)

    def problem(self, message: str, *key: str) -> SettingsError:
        """Return the error that says this of a key, with the place where it was set."""
        return _error([_problem(key, message, self._merged)])

    def refusal(self, error: ValidationError, model: type[BaseModel], *around: str) -> SettingsError:
        """Return the error that names all that `model` refused in the table at `around`."""
        return _refusal(error, model, self._merged, around)


def load_settings(
    start: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
    user_file: Path | None = None,
) -> LoadedSettings:
    """Read all sources, the later ones winning, and check them together.

    The sources: defaults; the preset that the others name in the end; the user's file; from `start` (the current
    folder) upwards the first folder with a `[tool.longshore]` in its pyproject.toml or with a longshore.toml, in this
    order; the environment, `LONGSHORE_WORKERS__ASYNC_WORKERS=8`; `overrides`, "workers.async_workers=8". Values of the
    last two are TOML, or else taken as text. Where the current folder was deleted there is no project, which a warning
    says. Raises one SettingsError that names file, line and key of all that is wrong.
    """
    folder, notes = _folder(start)
    layers = read_layers(folder, os.environ if environ is None else environ, overrides, user_file)
    merged = merge([*_preset_layers(layers), *layers], {kind: Settings.model_fields[kind].default for kind in LISTED})
    try:
        settings = Settings.model_validate(merged.table)
    except ValidationError as error:
        raise _refusal(error, Settings, merged, ()) from error
    known, merged, warnings = _less_missing(settings, merged)
    return LoadedSettings(known, merged, [*notes, *warnings])


def recorded_settings(
    table: Mapping[str, Any],  # Any: JSON-safe values
    overrides: Sequence[str] = (),
    lists: Sequence[str] = (),
) -> LoadedSettings:
    """Check settings as a run has recorded them, with `overrides` as `load_settings` has them; nothing else is read.

    `lists` are the kinds of plugins that a list chose, whichever form they are recorded in.
    """
    names = {kind: _enabled(table[kind]) for kind in lists if isinstance(table.get(kind), Mapping)}
    recorded = [Layer("recorded", part, label="the run's record") for part in (names, table)]
    layers = [*recorded, *read_layers(None, {}, overrides, Path(os.devnull))]
    merged = merge(layers, {kind: Settings.model_fields[kind].default for kind in LISTED})
    try:
        return LoadedSettings(Settings.model_validate(merged.table), merged)
    except ValidationError as error:
        raise _refusal(error, Settings, merged, ()) from error


def _preset_layers(layers: Sequence[Layer]) -> list[Layer]:
    """Return the preset that the layers name in the end, as the weakest layer of all; none for one that is unknown."""
    name = next((layer.table["preset"] for layer in reversed(layers) if "preset" in layer.table), None)
    known = PRESETS.get(name) if isinstance(name, str) else None
    return [] if known is None else [Layer("preset", known, label=f"preset {name}")]


def settings_schema(models: Mapping[tuple[str, str], type[BaseModel]] | None = None) -> Options:
    """Return the JSON Schema of `[tool.longshore]`; `models` are the plugins' own, by kind and name."""
    schema = Settings.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    for (kind, name), model in (models or {}).items():
        own = model.model_json_schema(ref_template=f"#/$defs/{kind}.{name}.{{model}}")
        definitions.update({f"{kind}.{name}.{inner}": part for inner, part in own.pop("$defs", {}).items()})
        if kind in LISTED:
            own.setdefault("properties", {})["enabled"] = dict(_ENABLED)
        _object_form(schema["properties"][kind]).setdefault("properties", {})[name] = own
    return {name: _in_words_of_json(part) for name, part in schema.items()}


def _in_words_of_json(part: Any) -> Any:  # Any: JSON
    """Return a part of a schema with JSON Schema's names for bounds, where pydantic leaves its own: within unions."""
    if isinstance(part, list):
        return [_in_words_of_json(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    return {_BOUNDS.get(name, name): _in_words_of_json(inner) for name, inner in part.items()}


def leaves(table: Mapping[str, Any], around: Key = ()) -> Iterator[Key]:  # Any: JSON-safe values
    """Yield the key of every value that is no table, and of every empty table."""
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*around, name))
        else:
            yield (*around, name)


def _object_form(schema: Options) -> Options:
    forms = schema.get("anyOf", [schema])
    found: Options = next(form for form in forms if form.get("type") == "object")
    return found


def _folder(start: Path | None) -> tuple[Path | None, list[str]]:
    """Return where to look for a project's settings, and what to warn of: there may be no current folder any more."""
    try:
        return (start or Path.cwd()).absolute(), []
    except OSError as error:
        if start is not None:
            raise SettingsError(f"settings can't be looked for from {start}: the current folder is gone") from error
        return None, ["the current folder was deleted: no settings of a project were read"]


def _less_missing(settings: Settings, merged: Merged) -> tuple[Settings, Merged, list[str]]:
    """Return the settings without plugins that are not installed and only have a table, and a warning for each table.

    One that is enabled in so many words stays: whoever needs it is told that it is missing.
    """
    named = [(kind, name) for kind in KINDS for name, table in settings.tables(kind).items() if table]
    if not named:
        return settings, merged, []
    installed = {(candidate.kind, candidate.name) for candidate in PluginHost(settings.plugins).candidates()}
    missing = [(kind, name) for kind, name in named if (kind, name) not in installed]
    warnings = [
        f"the settings of {kind}.{name} are not used: {unknown_plugin(kind, name, installed)}" for kind, name in missing
    ]
    unasked = {(kind, name) for kind, name in missing if kind in LISTED and not _asked_for(kind, name, merged)}
    kept = {kind: tuple(n for n in getattr(settings, kind) if (kind, n) not in unasked) for kind, _ in unasked}
    return settings.model_copy(update=kept), merged, warnings


def _asked_for(kind: str, name: str, merged: Merged) -> bool:
    """Tell whether a listed plugin is enabled by more than having a table."""
    layer = merged.owners.get((kind, name, "enabled"))
    given = layer.table.get(kind) if layer is not None else None
    return not isinstance(given, Mapping) or given[name].get("enabled") is True


def _refusal(error: ValidationError, model: type[BaseModel], merged: Merged, around: Key) -> SettingsError:
    problems: dict[Key, str] = {}
    for detail in error.errors():
        key = _key(detail, merged.table, around)
        problems.setdefault(key, message_of(detail, model, key[len(around) :]))
    return _error([_problem(key, text, merged) for key, text in problems.items()])


def _error(told: Sequence[dict[str, Any]]) -> SettingsError:  # Any: JSON-safe values
    lines = [f"{problem['origin']}: {problem['key']}{problem['entry']}: {problem['message']}" for problem in told]
    title = "a setting is wrong" if len(lines) == 1 else f"{len(lines)} settings are wrong"
    return SettingsError("\n  ".join([f"{title}:", *lines]), problems=list(told))


def _problem(key: Key, message: str, merged: Merged) -> dict[str, Any]:  # Any: JSON-safe values
    owner = merged.owner(key)
    origin = owner.origin(key) if owner else Origin("default")
    place = f"{origin} ({origin.layer})"
    file = str(origin.file) if origin.file else None
    told = {"origin": place, "file": file, "line": origin.line, "key": ".".join(key), "message": message}
    return {**told, "entry": entry_of(key, merged.table)}


def _key(detail: ErrorDetails, table: object, around: Key) -> Key:
    """Return the key of an error: its place, less what pydantic adds to it for the forms of a union."""
    for name in around:
        table = table.get(name, {}) if isinstance(table, Mapping) else {}
    key = around
    for part in detail["loc"]:
        known = part in table if isinstance(table, Mapping) else isinstance(table, list) and part in range(len(table))
        if known:
            table = table[part]  # type: ignore[index]  # shown in the line above to be there
        elif detail["type"] != "missing":
            break
        key = (*key, str(part))
    return key


__all__ = [
    "LoadedSettings",
    "Names",
    "Options",
    "Origin",
    "ResourceLimits",
    "ResourceType",
    "ResultLimits",
    "Settings",
    "WorkerConfig",
    "leaves",
    "load_settings",
    "recorded_settings",
    "settings_schema",
]
