"""What is told of a setting that is wrong: in the words of TOML, with the key that was meant. Pure.

Called by `settings.py` with what pydantic found, which has words of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from longshore._plugins.advice import nearest
from longshore._sources import LISTED, Key

HIDDEN_WORDS = r"token|secret|passw|credential|api_?key|private_?key|authorization"
"""What a name has in it whose value is to be hidden."""
_SECRET = re.compile(HIDDEN_WORDS, re.IGNORECASE)


def entry_of(key: Key, table: object) -> str:
    """Return what the entry of a list is called that a key goes through, such as " (stage read)"; else nothing."""
    for around, part in zip(("", *key), key, strict=False):
        if isinstance(table, list):
            table = table[int(part)] if part.isdigit() and int(part) < len(table) else None
            name = table.get("name") if isinstance(table, Mapping) else None
            return f" ({around.removesuffix('s')} {name})" if isinstance(name, str) else ""
        table = table.get(part) if isinstance(table, Mapping) else None
    return ""


def is_secret(name: str) -> bool:
    """Tell whether a key looks as if its value is to be hidden."""
    return _SECRET.search(name) is not None


def message_of(detail: ErrorDetails, model: type[BaseModel], key: Key) -> str:
    """Return what is wrong with the value at `key`, which `model` refused, and what may have been meant."""
    if detail["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        if key == ("tool",):
            return "unknown key; in this file, keys stand without [tool.longshore]"
        return "unknown key" + _meant(model, key)
    if detail["type"] == "missing":
        return "is missing"
    given = detail["input"]
    text = _WORDS.get(detail["type"]) or detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if detail["type"] == "tuple_type" and key[-1] in LISTED:
        names = [name.strip() for name in given.split(",")] if isinstance(given, str) else ["rich"]
        text = f"should be a list of names, such as {json.dumps(names)}"
    if (key and is_secret(key[-1])) or (detail["type"] == "value_error" and isinstance(given, Mapping)):
        return text  # a table may hold a secret too
    told = repr(given)
    return f"{text}, not {told if len(told) < 60 else told[:57] + '...'}"


_WORDS = {
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "dict_type": "should be a table",
    "model_type": "should be a table",
    "model_attributes_type": "should be a table",
    "string_type": "should be text",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "float_parsing": "should be a number",
}
"""What TOML calls the types of values, by pydantic's name for the mistake."""


def _meant(model: type[BaseModel], key: Key) -> str:
    """Return the hint for an unknown key: the same in another table, a near one in its own, or a near one elsewhere."""
    elsewhere = {name: name for name in _known(model, ())}
    for table in _known(model, ()):
        elsewhere |= {name: f"{table}.{name}" for name in _known(model, (table,))}
    own = _known(model, key[:-1])
    if key[-1] in elsewhere:
        return f"; did you mean {elsewhere[key[-1]]!r}?"
    near = nearest(key[-1], own)
    if near is not None:
        return f"; did you mean {near!r}?"
    if "custom" in own:
        return f"; one of your own stands in custom, as custom = {{ {key[-1]} = 1 }}"
    far = nearest(key[-1], elsewhere)
    return f"; did you mean {elsewhere[far]!r}?" if far else ""


def _known(model: type[BaseModel], around: Key) -> list[str]:
    for name in around:
        if name.isdigit():  # an entry of a list, whose model was found with the list
            continue
        field = model.model_fields.get(name)
        forms = (field.annotation, *get_args(field.annotation)) if field else ()
        inner = next((form for form in forms if isinstance(form, type) and issubclass(form, BaseModel)), None)
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)
