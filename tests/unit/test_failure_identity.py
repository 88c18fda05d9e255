"""Failures that are the same but for their input have one fingerprint; others have not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from longshore._failure_identity import failure_identity, normalised
from longshore._packing import pack_error
from longshore.errors import WorkerDied
from longshore.task import ErrorRecord


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("page 3 of 10 is empty", "page 7 of 12 is empty"),
        ("no key 'a' in table", "no key 'b c' in table"),
        ('no "x"', 'no "it\'s y"'),
        ("object at 0x7f00ab", "object at 0x11"),
        ("cannot open /data/a/1.pdf: denied", "cannot open /srv/b c".replace(" c", "") + ": denied"),
        ("cannot open C:\\a\\b.txt: denied", "cannot open ../x/y.txt: denied"),
        ("cannot open in/my scan.pdf: denied", "cannot open in/a much longer name (2).pdf: denied"),
        ("in/my letters/to him.txt is damaged", "in/b.txt is damaged"),
        ("C:\\my scans\\a b.pdf has no text.", "C:\\c.pdf has no text."),
        ("invoice.pdf is damaged", "letter.docx is damaged"),
        ("task 95198f-t0 (ocr) timed out after 1.5 s", "task ab12cd-3ff (ocr) timed out after 30 s"),
        ("id 3f2504e0-4f89-11d3-9a0c-0305e82c3301 is taken", "id 00000000-0000-0000-0000-000000000001 is taken"),
        ("took  3 s\nand more", "took 4 s and more"),
    ],
)
def test_what_varies_from_input_to_input_does_not_count(one: str, other: str) -> None:
    """Numbers, ids, addresses, paths, names of files, quoted values, white space."""
    assert normalised(one) == normalised(other)
    assert failure_identity("ValueError", one) == failure_identity("ValueError", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ValueError", "no"), ("TypeError", "no")),
        (("ValueError", "connection refused"), ("ValueError", "connection reset")),
        (("ValueError", "can't read it"), ("ValueError", "can't write it")),
        (("ValueError", "a/b.txt is newer than c.txt"), ("ValueError", "a/b.txt is older than c.txt")),
        (("ValueError", "cannot copy a/b: full, see d.txt"), ("ValueError", "cannot copy a/b: denied, see d.txt")),
        (("ValueError", "no", "encrypted"), ("ValueError", "no", "damaged")),
        (("ValueError", "no", "encrypted"), ("ValueError", "encrypted")),
    ],
)
def test_what_tells_failures_apart_counts(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """The type, the words of the message, the reason."""
    assert failure_identity(*one) != failure_identity(*other)


def test_a_reason_stands_in_place_of_the_message() -> None:
    """One word for machines says it all, whoever raised it."""
    assert failure_identity("E", "one", "encrypted") == failure_identity("E", "two", "encrypted", 'File "a.py"')


def raised(call: Any, *args: Any) -> ErrorRecord:
    try:
        call(*args)
    except Exception as error:
        return pack_error(error, 1, "w")
    raise AssertionError("nothing was raised")


def first(value: Any) -> None:
    int(value)


def second(value: Any) -> None:
    int(value)


def through_a_library(value: Any) -> None:
    import json

    json.loads(value)


def also_through_it(value: Any) -> None:
    import json

    json.loads(value)


def test_where_it_arose_in_the_users_code_counts() -> None:
    """The innermost function of the user's own, not the library's below it; not the line, which edits move."""
    assert raised(first, "x").fingerprint == raised(first, "yz").fingerprint
    assert raised(first, "x").fingerprint != raised(second, "x").fingerprint
    assert raised(through_a_library, "{").fingerprint != raised(also_through_it, "{").fingerprint
    moved = raised(first, "x").traceback.replace("line ", "line 9")
    assert failure_identity("ValueError", "no", None, moved) == failure_identity(
        "ValueError", "no", None, raised(first, "x").traceback
    )


def test_a_fingerprint_is_short_and_stays() -> None:
    """It is pinned: runs of today and of next year are told in one table. It is no part of how a record travels."""
    record = raised(lambda: (_ for _ in ()).throw(WorkerDied("gone", reason="signal 9")))
    assert record.fingerprint == "6f27790b120a"
    code = "from longshore._failure_identity import failure_identity as f; print(f('ValueError', 'no 7'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout.strip() == failure_identity("ValueError", "no 8")


@given(st.text(), st.text(), st.text())
def test_any_text_has_a_fingerprint(kind: str, message: str, traceback: str) -> None:
    """Whatever a user's exception says of itself."""
    assert len(failure_identity(kind, message, None, traceback)) == 12


def test_the_name_of_the_checkout_does_not_count(tmp_path: Path) -> None:
    """The same code in another folder fails the same way."""
    text = 'Traceback (most recent call last):\n  File "{}/pkg/mod.py", line 3, in work\nValueError: no\n'
    one, other = (failure_identity("ValueError", "no", None, text.format(place)) for place in ("/a", tmp_path))
    assert one == other
