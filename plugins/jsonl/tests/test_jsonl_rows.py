"""What a line looks like, whatever tasks and files are called."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from longshore_jsonl._row import RowEncoder

HOSTILE = [
    "two\nlines",
    'back\r\n{"type":"task_completed"}',
    "\x1b[2J\x1b]0;title\x07",
    "\x7f\x9b31m\x85",
    "\u202egnp.exe\u2066",
    "\u2028\u2029\ufeff",
    "\ud800 alone",
    "caf\udce9.txt",
    'quote " and \\ backslash',
    "\x00",
    "🚢 quay 岸",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_can_break_its_line(name: str) -> None:
    """A row is one line of printable ASCII and valid for a strict reader, whatever a task is called (fault:E2)."""
    line = RowEncoder(1000).encode({"name": name, name: 1})
    assert line.endswith(b"\n")
    assert all(0x20 <= byte < 0x7F for byte in line[:-1])
    expected = name.encode("utf-8", "backslashreplace").decode()
    assert msgspec.json.decode(line) == {"name": expected, expected: 1}


TEXT = st.text(
    st.sampled_from('aZ9 "\\\n\r\t\x00\x1b\x7f\x85\x9b\u00e9\u202e\u2028\ud800\udce9\U0001f6a2'), max_size=100
)


@settings(max_examples=200)
@given(
    st.dictionaries(
        TEXT,
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.binary(max_size=9),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
            max_leaves=6,
        ),
        max_size=4,
    )
)
def test_anything_is_one_valid_line(row: dict[str, Any]) -> None:
    """Whatever the values are, a row becomes one line of printable ASCII that strict readers take (fault:E2)."""
    line = RowEncoder(64).encode(row)
    assert all(0x20 <= byte < 0x7F for byte in line[:-1])
    assert isinstance(msgspec.json.decode(line), dict)


def test_a_long_string_is_cut() -> None:
    """A string past the cap keeps its beginning and says how long it was; short ones beside it stay whole."""
    row = json.loads(RowEncoder(100).encode({"message": "x" * 1_000_000, "name": "short", "of": ["y" * 101]}))
    assert row == {
        "message": "x" * 100 + "... (1000000 characters)",
        "name": "short",
        "of": ["y" * 100 + "... (101 characters)"],
    }


def test_many_short_strings_are_not_cut() -> None:
    """The cap is on a string, not on the line."""
    row = {f"field{n}": "x" * 50 for n in range(100)}
    assert json.loads(RowEncoder(100).encode(row)) == row


def test_what_is_not_json_is_described() -> None:
    """Not-a-number is null, a strange key or object its text, a ring ends: nothing is raised (fault:E2)."""

    class Rude:
        def __str__(self) -> str:
            raise RuntimeError("no")

    ring: list[Any] = []
    ring.append(ring)
    row = {
        "nan": float("nan"),
        "inf": float("-inf"),
        "big": 2**70,
        "at": datetime(2026, 1, 2, tzinfo=UTC),
        "rude": Rude(),
    }
    plain = json.loads(RowEncoder(1000).encode(row))
    assert plain["nan"] is None
    assert plain["inf"] is None
    assert plain["at"].startswith("2026-01-02")
    assert plain["rude"] == "<Rude>"
    assert int(str(plain["big"]), 0) == 2**70
    strange: dict[Any, Any] = {"ring": ring, ("a", 1): 2}
    assert json.loads(RowEncoder(1000).encode(strange)) == {"ring": [[[[["..."]]]]], "('a', 1)": 2}
