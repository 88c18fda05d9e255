"""Two runs against each other: the same inputs are found again, and what is different is said in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from longshore._report.compare import Comparison, compare
from longshore._report.compared import compared_html, compared_markdown
from longshore._report.gather import report

Script = Any  # the fixture's class: test modules cannot import a conftest
Scripts = Callable[[], Script]


def compared(first: Script, second: Script, **more: Any) -> Comparison:  # Any: the fields of a Source
    sources = (first.source(), second.source(**more))
    return compare(*((source, report(source)) for source in sources))


def two(script: Scripts) -> tuple[Script, Script]:
    """Return two runs: `a` mended, `b` broken, `c` slower, `d` only in the first, `e` only in the second."""
    first, second = script(), script()
    first.task(0, 1, key="a", fails="no")
    first.task(1, 2, key="b")
    first.task(2, 3, key="c")
    first.task(3, 4, key="d")
    second.task(0, 1, key="a")
    second.task(1, 2, key="b", fails="<b>")
    second.task(2, 5, key="c")
    second.task(5, 6, key="e")
    second.task(6, 8)
    return first, second


def test_the_same_inputs_are_found_again(script: Scripts) -> None:
    """By stage and key, in any order: what newly fails, what newly passes, what is slower; the others are counted."""
    made = compared(*two(script))
    assert (made.matched, made.only_first, made.only_second) == (3, 1, 2)
    assert [(row.key, row.second_state, row.error) for row in made.newly_failing.rows] == [
        ("b", "failed", "ValueError")
    ]
    assert [row.key for row in made.newly_passing.rows] == ["a"]
    assert [(row.key, row.first_s, row.second_s) for row in made.slower.rows] == [("c", 1.0, 3.0)]
    assert (made.faster.count, made.newly_failing.count, made.newly_passing.count) == (0, 1, 1)


def test_it_is_said_in_words(script: Scripts) -> None:
    """How much longer it took, what fails now, which stage changed."""
    words = compared(*two(script)).words
    assert list(words) == [
        "The second run took 100% longer: 8.0 s instead of 4.0 s.",
        "Of 3 tasks of the same stage and input, 1 newly failed and 1 that had failed completed.",
        "“extract” on processes took 75% longer: 1.8 s instead of 1.0 s in the mean.",
    ]


def test_a_task_done_twice_counts_once(script: Scripts) -> None:
    """Of several with one stage and key the last one is compared."""
    first, second = script(), script()
    first.task(0, 1, key="a", fails="no")
    first.task(1, 2, key="a")
    second.task(0, 1, key="a", name="extract")
    made = compared(first, second)
    assert (made.matched, made.newly_passing.count) == (1, 0)
    assert made.words[1].endswith("none failed that had not, or completed that had failed.")


def test_stages_of_one_run_only_and_other_versions_are_named(script: Scripts) -> None:
    """And that settings differ."""
    first, second = script(), script()
    first.task(0, 1, key="a")
    second.task(0, 1, key="a", name="chunk")
    environment = msgspec.structs.replace(
        first.source().environment, versions={"python": "3.13"}, settings_hash="1" * 64
    )
    made = compared(first, second, environment=environment)
    assert not made.same_settings
    assert list(made.words[2:]) == [
        "Only the first run has the stage “extract” on processes.",
        "Only the second run has the stage “chunk” on processes.",
        "The settings are not the same.",
        "Other versions: python 3.12 → 3.13.",
    ]


def test_it_is_written_as_markdown_and_html(script: Scripts) -> None:
    """Both hold the words and the tasks; the page holds them as data."""
    made = compared(*two(script))
    text = compared_markdown(made)
    assert "- The second run took 100% longer: 8.0 s instead of 4.0 s." in text
    assert "| `b` | `extract` | completed → failed | 1.0 s | 1.0 s |" in text
    page = compared_html(made)
    assert page.count("<script") == 2
    assert '"key":"b"' in page
