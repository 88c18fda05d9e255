"""Make `docs/reference/settings.md`: every key that may be set, from the models that check it.

    uv run python docs/make_settings.py            # write it anew
    uv run python docs/make_settings.py --check    # exit 1 if it is not what the models say

Of a field the meaning is its description, or the string below it; a field that has neither is an error.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from longshore._pipeline_tables import PipelineTable
from longshore.hookspecs import KINDS
from longshore.plugins import PluginHost, PluginPolicy
from longshore.settings import Settings
from pydantic import BaseModel
from pydantic.fields import FieldInfo

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/reference/settings.md"
UNITS = {"_percent": "%", "_mbps": "MB/s", "_mb": "MB", "_bytes": "bytes", "_per_s": "1/s", "_hz": "1/s", "_s": "s"}
WORDS = {"Seconds ": "s", "MB/s": "MB/s", "MB ": "MB", "Cores ": "cores", "Documents a second ": "1/s"}
TYPES = {"boolean": "true or false", "integer": "whole number", "number": "number", "string": "text", "null": "none"}
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
HEAD = """# Settings

Every key, from the models that check them: this page is made by `docs/make_settings.py`. A key is in `longshore.toml`,
or below `[tool.longshore]` in `pyproject.toml`; in the environment it is `LONGSHORE_WORKERS__ASYNC_WORKERS=8`, on the
command line `--set workers.async_workers=8`. The later of these wins, and unknown keys are errors. What is set here and
by what is told by `longshore config show --origin`; `longshore config schema` has all this as JSON Schema.

"none" is what a key is that was left out; TOML has no word for it. MB are 10⁶ bytes.

## Top level
"""
PLUGINS = """
## Plugins

`sinks`, `probes` and `hooks` are lists of names, or tables by name: `[tool.longshore.sinks.rich]` enables the sink and
holds its options; with `enabled = false` it only holds them. Options of the others stand in `executors`, `journals`,
`processors`.
"""


def page() -> str:
    """Return the text of the page."""
    parts = [HEAD, *tables("", Settings), PLUGINS]
    for kind, name, distribution, model in plugins():
        parts.append(f"\n### {kind}.{name}\n\nOf `{distribution}`.\n")
        parts.append(table(model))
    parts.append("\n## A pipeline\n\nThe keys of `[tool.longshore.pipelines.NAME]`.\n")
    parts.extend(tables("pipelines.NAME", PipelineTable, level=3))
    return "".join(parts)


def tables(key: str, model: type[BaseModel], level: int = 2) -> Iterator[str]:
    """Yield the table of a model, and of each model within it."""
    yield table(model)
    for name, field in model.model_fields.items():
        for inner in models_in(field.annotation):
            where = f"{key}.{name}" if key else name
            where += ".NAME" if str(field.annotation).startswith("dict") else ""
            yield f"\n{'#' * level} {where}\n{first_line(inner)}"
            yield from tables(where, inner, level + 1 if level > 2 else level)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:  # Any: whatever a field may be annotated with
    """Yield the models that an annotation names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def table(model: type[BaseModel]) -> str:
    """Return the keys of one model, a row each."""
    rows = ["\n| key | is | default | unit | meaning |\n|---|---|---|---|---|\n"]
    schema = model.model_json_schema()
    strings = strings_of(model)
    for name, field in model.model_fields.items():
        said = field.description or strings.get(name)
        if not said:
            sys.exit(f"{model.__name__}.{name} says nothing of what it means")
        meaning = " ".join(said.split()).replace("|", "\\|").rstrip(".")
        kind = bounded(kind_of(schema["properties"][name], schema.get("$defs", {})), field)
        default = "required" if field.is_required() else default_of(field.get_default(call_default_factory=True))
        rows.append(f"| `{name}` | {kind} | {default} | {unit_of(name, said)} | {meaning} |\n")
    return "".join(rows)


def strings_of(model: type[BaseModel]) -> dict[str, str]:
    """Return the string that stands below each field in the source, where there is one."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                found[name] = said
    return found


def kind_of(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:  # Any: JSON
    """Return what a value may be, in words."""
    if "$ref" in schema:
        inner = definitions[schema["$ref"].rpartition("/")[2]]
        return "a table" if inner.get("type") == "object" else kind_of(inner, definitions)
    if "anyOf" in schema or "allOf" in schema:
        forms = [kind_of(form, definitions) for form in schema.get("anyOf", schema.get("allOf", ()))]
        return ", or ".join(dict.fromkeys(forms))
    if "enum" in schema or "const" in schema:
        return ", ".join(literal(value) for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        items = kind_of(schema.get("items", {"type": "string"}), definitions)
        return "tables" if items == "a table" else f"list of {items}s" if items in ("text", "number") else "list"
    if schema.get("type") == "object":
        return "a table"
    bounds = [f"{sign} {schema[bound]:g}" for bound, sign in BOUNDS.items() if bound in schema]
    return " ".join([TYPES.get(schema.get("type", ""), "any value"), *bounds])


def bounded(kind: str, field: FieldInfo) -> str:
    """Add the bounds that JSON Schema does not tell: those of a union, or behind a check of ours."""
    if any(sign in kind for sign in BOUNDS.values()):
        return kind
    told = {sign: getattr(each, name) for each in field.metadata for name, sign in SIGNS.items() if hasattr(each, name)}
    first, comma, rest = kind.partition(",")
    return " ".join([first, *(f"{sign} {bound:g}" for sign, bound in told.items())]) + comma + rest


def default_of(value: object) -> str:
    """Return a default as TOML has it."""
    if isinstance(value, BaseModel) or value == {}:
        return "a table"
    if isinstance(value, tuple | list) and len(value) > 3:
        return f"`[{literal(value[0]).strip('`')}, …, {literal(value[-1]).strip('`')}]`"
    return literal(list(value) if isinstance(value, tuple) else value)


def literal(value: object) -> str:
    """Return a value as TOML has it; what is None has no word there."""
    return "none" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def unit_of(name: str, said: str) -> str:
    """Return the unit that the key ends in, or the words of its meaning begin with."""
    by_name = (unit for ending, unit in UNITS.items() if name.endswith(ending))
    return next(by_name, next((unit for word, unit in WORDS.items() if said.startswith(word)), ""))


def first_line(model: type[BaseModel]) -> str:
    """Return what a model says of itself, for people that set it."""
    said = "" if model.__name__.startswith("_") else (model.__doc__ or "").strip().splitlines()[0]
    return f"\n{said.replace('; frozen, unknown keys are refused', '')}\n" if said else ""


def plugins() -> Iterator[tuple[str, str, str, type[BaseModel]]]:
    """Yield kind, name, distribution and model of each of our plugins that has options."""
    host = PluginHost(PluginPolicy(), failures=None)
    ours = {path.name for path in (ROOT / "plugins").iterdir()}
    for candidate in sorted(host.candidates(), key=lambda each: (KINDS.index(each.kind), each.name)):
        if candidate.distribution.removeprefix("longshore-") in ours:
            model = getattr(host.load(candidate.kind, candidate.name), "Settings", None)
            if model is not None:
                yield candidate.kind, candidate.name, candidate.distribution, model


def main() -> None:
    """Write the page, or compare it."""
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != text:
        sys.exit("docs/reference/settings.md is not what the models say: uv run python docs/make_settings.py")


if __name__ == "__main__":
    main()
