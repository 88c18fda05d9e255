"""How results are stored: as JSON where that gives the same value back, as pickles only where a user asks for it.

For journals. What is stored as JSON is shown to be exact by its types; a pickle is signed with a key that the
journal keeps for itself, and is not opened unless its signature holds.
"""

from __future__ import annotations

import hmac
import math
import pickle
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from longshore._packing import described
from longshore.errors import JournalError
from longshore.processor import ProcessorResult

JSON: Final = "json"
RESULT: Final = "result"
PICKLE: Final = "pickle"
NOT_KEPT: Final = "none"
Form = Literal["json", "result", "pickle", "none"]
"""`result` is a ProcessorResult as JSON; `none` a value that could not be stored."""

DEPTH_MOST: Final = 64
_INT_LEAST, _INT_MOST = -(2**63), 2**64 - 1
_ALWAYS = frozenset({type(None), bool})
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Packed(Struct, frozen=True):
    """A value as it is stored."""

    form: Form
    data: bytes = b""


_NONE = Packed(NOT_KEPT)


def pack(value: Any, key: bytes | None = None) -> Packed:  # Any: the user's result
    """Return a value in the form that it can be stored in; never raises for what it is.

    With `key`, what is not JSON-safe is pickled and signed; without, it is not kept.
    """
    if is_exact(value):
        data = _as_json(value)
        if data is not None:
            return Packed(JSON, data)
    elif type(value) is ProcessorResult:
        data = _result_json(value)
        if data is not None:
            return Packed(RESULT, data)
    return _NONE if key is None else _pickled(value, key)


def unpack(packed: Packed, key: bytes | None = None) -> Any:  # Any: the user's result
    """Return the value; JournalError for one that is damaged, was not kept, or whose signature does not hold."""
    try:
        match packed.form:
            case "json":
                return _decode(packed.data)
            case "result":
                return ProcessorResult(**_decode(packed.data))
            case "pickle":
                return pickle.loads(_verified(packed.data, key))  # noqa: S301 - signed by us, for those who asked
            case _:
                raise JournalError("this result was not kept")
    except JournalError:
        raise
    except Exception as error:
        raise JournalError(f"a recorded result can't be read: {described(error)}") from error


def is_exact(value: Any, depth: int = DEPTH_MOST) -> bool:  # Any: the user's result
    """Tell whether JSON gives back the same value, of the same types."""
    kind = type(value)
    if kind is int:
        return bool(_INT_LEAST <= value <= _INT_MOST)
    if kind is str or kind in _ALWAYS:
        return True
    if kind is float:
        return math.isfinite(value)
    if depth and kind is list:
        return all(is_exact(item, depth - 1) for item in value)
    if depth and kind is dict:
        return all(type(name) is str and is_exact(item, depth - 1) for name, item in value.items())
    return False


def _as_json(value: Any) -> bytes | None:  # Any: of exact types
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError):  # a text that is no Unicode; changed while it was looked at
        return None


def _result_json(result: ProcessorResult) -> bytes | None:
    fields = {name: getattr(result, name) for name in result.__struct_fields__}
    fields["errors"] = list(result.errors)
    return _as_json(fields) if all(map(is_exact, fields.values())) else None


def _pickled(value: Any, key: bytes) -> Packed:  # Any: the user's result
    try:
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001 - a reducer is user code and may raise anything
        return _NONE
    return Packed(PICKLE, hmac.digest(key, data, "sha256") + data)


def _verified(data: bytes, key: bytes | None) -> bytes:
    if key is None:
        raise JournalError("a recorded result is a pickle, and pickles are not opened unless settings allow them")
    signature, body = data[:32], data[32:]
    if not hmac.compare_digest(signature, hmac.digest(key, body, "sha256")):
        raise JournalError("a recorded result is not what was written: its signature does not hold")
    return body


__all__ = ["DEPTH_MOST", "JSON", "NOT_KEPT", "PICKLE", "RESULT", "Form", "Packed", "is_exact", "pack", "unpack"]
