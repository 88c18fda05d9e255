"""The JSON Schema of the settings for editors: draft 7, as SchemaStore has it for pyproject.toml, and without null."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from longshore._pipeline_tables import PipelineTable
from longshore.settings import settings_schema

Schema = dict[str, Any]  # Any: JSON

ID = "https://json.schemastore.org/partial-longshore.json"
_DRAFT = "http://json-schema.org/draft-07/schema#"


def editor_schema(models: Mapping[tuple[str, str], type[BaseModel]]) -> Schema:
    """Return the schema of `[tool.longshore]`, with the settings of `models`, by kind and name.

    Plugins that are not among them stay allowed: there may be others.
    """
    own = settings_schema(models)
    tables = PipelineTable.model_json_schema(ref_template="#/$defs/{model}")
    definitions = {**own.pop("$defs"), **tables.pop("$defs", {}), PipelineTable.__name__: tables}
    own["properties"]["pipelines"]["additionalProperties"] = {"$ref": f"#/$defs/{PipelineTable.__name__}"}
    head = {"$schema": _DRAFT, "$id": ID, "$comment": "tool.longshore table in pyproject.toml"}
    told = {"title": "longshore", "description": "Settings of longshore, a worker pool, and of its plugins."}
    body = {name: part for name, part in own.items() if name not in told}
    return {**head, **told, **as_toml(body), "definitions": as_toml(dict(sorted(definitions.items())))}


def as_toml(part: Any) -> Any:  # Any: JSON, as in all below
    """Return a part of a schema as draft 7 has it, less what TOML has no word for: null."""
    if isinstance(part, list):
        return [as_toml(inner) for inner in part if inner is not None and inner != {"type": "null"}]
    if not isinstance(part, dict):
        return part
    kept = {name: as_toml(inner) for name, inner in part.items() if inner is not None}
    if isinstance(reference := kept.pop("$ref", None), str):
        older = {"$ref": reference.replace("#/$defs/", "#/definitions/")}
        return {**kept, "allOf": [older]} if kept else older  # draft 7 heeds nothing beside a reference
    forms = kept.get("anyOf", ())
    if len(forms) == 1:
        del kept["anyOf"]
        return {**forms[0], **kept}
    return kept
