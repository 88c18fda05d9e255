"""The schema of `[tool.longshore]` as it is shipped: for validate-pyproject, which asks by an entry point.

Reads a file and imports nothing, so that a check of a pyproject.toml stays cheap. What makes the file: `_schemas.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).with_name("partial-longshore.json")


def tool_schema(tool: str) -> dict[str, Any]:  # Any: JSON Schema
    """Settings of longshore and its plugins: the table `[tool.$tool]`."""
    schema: dict[str, Any] = json.loads(SHIPPED.read_text("utf-8"))
    return schema
