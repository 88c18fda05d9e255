"""Where settings come from: files, environment and arguments in; one merged table and each key's origin out.

Called by `settings.py` only. Nothing here knows what a setting means, but for the three keys that name
plugins (docs/decisions/0004-settings.md).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import platformdirs

from longshore.errors import SettingsError

Key = tuple[str, ...]
Table = Mapping[str, Any]  # Any: TOML values

LISTED = ("sinks", "probes", "hooks")
"""The keys that take a list of plugin names, or a table with a table per plugin."""
ENV_PREFIX = "LONGSHORE_"
_NOT_SETTINGS = frozenset(
    {
        "LONGSHORE_DISABLE_PLUGIN_AUTOLOAD",
        "LONGSHORE_WORKER",
        "LONGSHORE_WORKER_MEMORY",
        "LONGSHORE_ZYGOTE",
        "LONGSHORE_CHAOS",
        "LONGSHORE_CHAOS_SEED",
    }
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from: a line of a file, or else a name; the layer "default" has neither."""

    layer: str
    """"default", "preset", "user", "pyproject", "project", "environment" or "argument"."""
    file: Path | None = None
    line: int | None = None
    name: str | None = None
    """The environment variable, the argument as it was given, or the preset."""

    def __str__(self) -> str:
        """Return a text for people, such as "pyproject.toml:12"."""
        if self.file is not None:
            return f"{self.file}:{self.line}" if self.line else str(self.file)
        return self.name or self.layer


@dataclass(frozen=True)
class Layer:
    """One source: its table, and what is needed to find a key in it again."""

    name: str
    table: Table
    file: Path | None = None
    text: str = ""
    root: Key = ()
    """The keys around our table in the file."""
    label: str | None = None

    def origin(self, key: Key) -> Origin:
        """Return where `key`, or the nearest key around it, is set."""
        if self.file is None:
            return Origin(self.name, name=self.label)
        full = self.root + key
        while full and full not in self._lines:
            full = full[:-1]
        return Origin(self.name, self.file, self._lines.get(full))

    @cached_property
    def _lines(self) -> dict[Key, int]:
        return key_lines(self.text, self.root)


def key_lines(text: str, root: Key) -> dict[Key, int]:
    """Return the line on which each key below `root` begins; entries of a list are keys by their number.

    tomllib tells no lines. The first prefix of the file that parses and holds a key ends with it, and the
    key begins where the longest prefix that parses without it ends.
    """
    lines = text.splitlines(keepends=True)
    wanted = set(_paths(_dig(tomllib.loads(text), root), root))
    first = next((n for n, line in enumerate(lines, 1) if not root or root[-1] in line), 1)
    found: dict[Key, int] = {}
    begin = first
    for count in range(first, len(lines) + 1):
        table = _parsed("".join(lines[:count]))
        if table is None:
            continue
        new = [path for path in _paths(_dig(table, root), root) if path not in found]
        if new:
            told = (
                n for n in range(begin, count + 1) if lines[n - 1].strip() and not lines[n - 1].lstrip().startswith("#")
            )
            found.update(dict.fromkeys(new, next(told, count)))
        begin = count + 1
        if len(found) == len(wanted):
            break
    return found


def read_layers(
    start: Path | None, environ: Mapping[str, str], overrides: Sequence[str], user_file: Path | None
) -> list[Layer]:
    """Return the layers that are there, the weakest first; SettingsError for one that cannot be read.

    Without `start` there is no project.
    """
    user = user_file or platformdirs.user_config_path("longshore", appauthor=False) / "config.toml"
    layers = [_file_layer("user", user)] if user.is_file() else []
    layers += _project_layers(start) if start is not None else []
    layers += _environment_layers(environ)
    layers += [_override_layer(text) for text in overrides]
    return layers


@dataclass
class Merged:
    """All layers in one: later ones win, tables merge by key, all else replaces."""

    table: dict[str, Any] = field(default_factory=dict)  # Any: TOML values
    owners: dict[Key, Layer] = field(default_factory=dict)
    """The layer that set each value."""

    def put(self, key: Key, value: object, layer: Layer) -> None:
        """Set a value over what is there; a table is merged into a table."""
        inner = self.table
        for name in key[:-1]:
            inner = inner[name]
        if isinstance(value, Mapping):
            if not isinstance(inner.get(key[-1]), dict):
                inner[key[-1]] = {}
                self.owners[key] = layer
            for name, item in value.items():
                self.put((*key, name), item, layer)
            return
        inner[key[-1]] = value
        for below in [owned for owned in self.owners if owned[: len(key)] == key]:
            del self.owners[below]
        self.owners[key] = layer

    def owner(self, key: Key) -> Layer | None:
        """Return the layer that set `key`, or the nearest key around it; None for a default."""
        for size in range(len(key), 0, -1):
            if key[:size] in self.owners:
                return self.owners[key[:size]]
        return None


def merge(layers: Sequence[Layer], enabled: Mapping[str, Sequence[str]]) -> Merged:
    """Merge layers, the weakest first; `enabled` says which plugins each of LISTED names by default.

    Afterwards a key of LISTED that any layer has is a table of tables, the enabled ones first and in order,
    each with its `enabled`; what was neither list nor table is left for validation to name.
    """
    merged = Merged()
    names = {kind: list(enabled[kind]) for kind in LISTED}
    for layer in layers:
        for key, value in layer.table.items():
            if key in LISTED and _is_names(value):
                names[key] = list(dict.fromkeys(value))
                if not isinstance(merged.table.get(key), dict):
                    merged.table[key] = {}
                merged.owners |= dict.fromkeys([(key,), *((key, name, "enabled") for name in names[key])], layer)
                continue
            merged.put((key,), value, layer)
            if key in LISTED and isinstance(value, Mapping):
                merged.owners |= {(key, name, "enabled"): layer for name in value}
                _enable(names[key], value, merged.table[key])
    for kind in LISTED:
        tables = merged.table.get(kind)
        if isinstance(tables, dict):
            merged.table[kind] = _ordered(names[kind], tables)
    return merged


def _enable(names: list[str], given: Table, tables: Table) -> None:
    for name in given:
        table = tables[name]
        if not isinstance(table, Mapping):
            continue
        if table.get("enabled", True) is False:
            names[:] = [other for other in names if other != name]
        elif name not in names:
            names.append(name)


def _ordered(names: Sequence[str], tables: Table) -> dict[str, Any]:  # Any: TOML values
    rest = [name for name in tables if name not in names]
    whole: dict[str, Any] = {}  # Any: as above
    for name in (*names, *rest):
        table = tables.get(name, {})
        flag = table.get("enabled") if isinstance(table, dict) else None
        if not isinstance(table, dict) or flag not in (None, True, False):
            whole[name] = table
        else:
            whole[name] = {**table, "enabled": name in names}
    return whole


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _project_layers(start: Path) -> list[Layer]:
    for folder in (start, *start.parents):
        layers = []
        pyproject, own = folder / "pyproject.toml", folder / "longshore.toml"
        if pyproject.is_file() and "longshore" in (text := _text(pyproject, lenient=True)):
            table = _dig(
                _toml(pyproject, text) if "tool.longshore" in text else _parsed(text) or {},
                ("tool", "longshore"),
            )
            if table is not None:
                layers.append(Layer("pyproject", table, pyproject, text, ("tool", "longshore")))
        if own.is_dir():
            raise SettingsError(f"{own}: cannot be read: it is a folder, and settings are a file", file=str(own))
        if own.is_file():
            layers.append(_file_layer("project", own))
        if layers:
            return layers
    return []


def _file_layer(name: str, file: Path) -> Layer:
    text = _text(file)
    return Layer(name, _toml(file, text), file, text)


def _text(file: Path, *, lenient: bool = False) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace" if lenient else "strict")
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"{file}: cannot be read: {error}", file=str(file)) from error


def _toml(file: Path, text: str) -> dict[str, Any]:  # Any: TOML values
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"\(at line (\d+)", str(error))
        line = int(at.group(1)) if at else text.count("\n") + 1
        raise SettingsError(f"{file}:{line}: not TOML: {error}", file=str(file), line=line) from error


def _parsed(text: str) -> dict[str, Any] | None:  # Any: TOML values
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _environment_layers(environ: Mapping[str, str]) -> list[Layer]:
    names = [name for name in environ if name.startswith(ENV_PREFIX) and name not in _NOT_SETTINGS]
    layers = []
    for name in sorted(names, key=lambda name: (name.count("__"), name)):
        key = tuple(name.removeprefix(ENV_PREFIX).lower().split("__"))
        layers.append(Layer("environment", _nested(key, _value(environ[name])), label=name))
    return layers


def _override_layer(text: str) -> Layer:
    name, equals, value = text.partition("=")
    key = _parsed(f"{name} = 0")
    if not equals or not key or not name.strip() or "\n" in name:
        raise SettingsError(f"--set {text}: write it as key=value, such as --set workers.thread_workers=4", name=text)
    path = max(_paths(key, ()), key=len)
    return Layer("argument", _nested(path, _value(value)), label=f"--set {text}")


def _value(text: str) -> Any:  # Any: a TOML value
    """Return the TOML value that the text is, else the text itself."""
    table = _parsed(f"value = {text}") if "\n" not in text else None
    return table["value"] if table is not None and table.keys() == {"value"} else text


def _nested(key: Key, value: object) -> dict[str, Any]:  # Any: TOML values
    for name in reversed(key):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def _dig(table: Table, root: Key) -> dict[str, Any] | None:  # Any: TOML values
    inner: Any = table  # Any: as above
    for name in root:
        if not isinstance(inner, dict) or name not in inner:
            return None
        inner = inner[name]
    return inner if isinstance(inner, dict) else None


def _paths(value: object, around: Key) -> Iterator[Key]:
    items: Iterable[tuple[object, object]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = ((number, item) for number, item in enumerate(value) if isinstance(item, dict))
    for name, item in items:
        yield (*around, str(name))
        yield from _paths(item, (*around, str(name)))
