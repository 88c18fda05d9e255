"""What editors and validate-pyproject know of the settings: the schema that is shipped."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from longshore.__main__ import main
from validate_pyproject import api, errors

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "core/src/longshore/partial-longshore.json"
WRITE = "it is to be what `uv run longshore config schema --for-editors` prints: write it to a file and move that here"


@pytest.fixture(scope="module")
def schema() -> Any:  # Any: JSON
    """Return the schema as it is shipped."""
    return json.loads(SHIPPED.read_text("utf-8"))


def parts(schema: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:  # Any: JSON
    """Yield the schema of every key, by its path."""
    for name, inner in schema.get("properties", {}).items():
        yield f"{key}.{name}", inner
        yield from parts(inner, f"{key}.{name}")
    for form in schema.get("anyOf", []):
        yield from parts(form, key)
    for name, inner in schema.get("definitions", {}).items():
        yield from parts(inner, name)


def tables(block: str) -> list[dict[str, Any]]:  # Any: TOML values
    """Return the tables of a TOML example; one that shows two forms of the same is taken apart."""
    try:
        return [tomllib.loads(block)]
    except tomllib.TOMLDecodeError:
        return [tomllib.loads(part) for part in re.split(r"^(?=\[tool)", block, flags=re.MULTILINE)]


def examples() -> list[Any]:
    """Return every TOML example of the documentation that sets something of ours, with its place."""
    found = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("plugins/*/README.md"))]:
        blocks = re.findall(r"^```toml\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        for number, table in enumerate(table for block in blocks for table in tables(block)):
            if "longshore" in table.get("tool", {}):
                found.append(pytest.param(table["tool"]["longshore"], id=f"{page.parent.name}-{page.stem}-{number}"))
    return found


def test_the_schema_is_one_that_editors_read(schema: Any) -> None:
    """It is of draft 7, has an id and refers to nothing outside; no key can be null, which TOML has no word for."""
    Draft7Validator.check_schema(schema)
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert schema["$id"].endswith("/partial-longshore.json")
    text = SHIPPED.read_text("utf-8")
    assert all(reference.startswith("#/definitions/") for reference in re.findall(r'"\$ref": "([^"]*)"', text))
    assert '"null"' not in text
    assert "null" not in re.findall(r": (\w+)", text)


def test_every_setting_says_what_it_is(schema: Any) -> None:
    """Every key of the core's tables and of our plugins' has a title and a description: what an editor shows."""
    found = dict(parts(schema))
    assert ".sinks.prometheus.buckets_s" in found
    assert "StageTable.retries" in found
    definitions = schema["definitions"]
    for key, part in found.items():
        reference = part.get("allOf", [part])[0]
        referred = definitions.get(reference.get("$ref", "").removeprefix("#/definitions/"), {})
        said = {**referred, **part}
        assert said.get("title"), key
        assert said.get("description"), key


@pytest.mark.parametrize("table", examples())
def test_what_the_documentation_sets_is_in_the_schema(schema: Any, table: Any) -> None:
    """No example of ours is underlined by an editor."""
    Draft7Validator(schema).validate(table)


@pytest.mark.parametrize(
    "code",
    [
        "exectuor = 'threads'",
        "submit_timeout = 0",
        "preset = 'fast'",
        "limits = { max_cpu_percent = 101 }",
        "limits = { max_gpu_percent = 3 }",
        "workers = { async_workers = 'two' }",
        "sinks = { jsonl = { paht = 'a' } }",
        "pipelines = { p = { stages = [{ name = 'a' }] } }",
        "pipelines = { p = { stages = [{ name = 'a', processor = 'b', retries = -1 }] } }",
    ],
)
def test_what_settings_refuse_the_schema_does(schema: Any, code: str) -> None:
    """A wrong key, type or number is underlined, at every depth."""
    assert not Draft7Validator(schema).is_valid(tomllib.loads(code))


def test_plugins_of_others_are_let_alone(schema: Any) -> None:
    """A table of a plugin that the schema does not know is no error, with whatever it holds."""
    theirs = "sinks = { theirs = { colour = 3 } }\n[executors.theirs]\nnodes = 3\n"
    Draft7Validator(schema).validate(tomllib.loads(theirs))


def test_the_schema_is_that_of_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    """What is shipped is what `longshore config schema --for-editors` prints here, where all our plugins are."""
    assert main(["config", "schema", "--for-editors"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(SHIPPED.read_text("utf-8")), WRITE


@pytest.mark.slow
def test_validate_pyproject_knows_our_table() -> None:
    """With longshore installed, `validate-pyproject` takes good settings, and names the wrong key of others."""
    validator = api.Validator()
    project = {"name": "a", "version": "1"}
    table: dict[str, Any] = {"sinks": {"jsonl": {"path": "a.jsonl"}}, "workers": {"async_workers": 3}}
    good = {"project": project, "tool": {"longshore": table}}
    assert validator(good) is good
    with pytest.raises(errors.ValidationError, match=r"tool\.longshore\.workers"):
        validator({"project": project, "tool": {"longshore": {"workers": {"async_workers": 0}}}})
    with pytest.raises(errors.ValidationError, match="asink"):
        validator({"project": project, "tool": {"longshore": {**table, "asinks": []}}})


def test_the_entry_point_is_light() -> None:
    """What validate-pyproject imports of us brings none of what settings are checked with."""
    code = (
        "import sys\nfrom importlib.metadata import entry_points\n"
        "[point] = [p for p in entry_points(group='validate_pyproject.tool_schema') if p.name == 'longshore']\n"
        "schema = point.load()('longshore')\n"
        "print(schema['title'], [m for m in ('pydantic', 'stevedore', 'pluggy', 'msgspec') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout == "longshore []\n"
