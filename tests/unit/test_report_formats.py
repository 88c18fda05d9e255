"""The files a report is written to: well-formed and harmless whatever the names in a run are, and true to its times."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import msgspec
import pytest
from longshore._report.compare import comparison_schema
from longshore._report.gather import report
from longshore._report.opening import MASK, environment_of, facts_of
from longshore._report.records import report_schema
from longshore._report.words import code, number, percent, prose, seconds, xml_text
from longshore._report.writing import REPORTS
from longshore.records import RunRecord

Script = Any  # the fixture's class: test modules cannot import a conftest
Scripts = Callable[[], Script]
DOCS = Path(__file__).parents[2] / "docs"
HOSTILE = (
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "<img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "]]>&<x>'\"",
    "\u2028\u2029\u202eevil\x00\x1b[31m\x07\ufffe",
    "`a` | b ~~c~~ **d** [e](http://f) <!channel> @everyone #12",
    "“quoted” \\ back\nnext line\ttab",
    "{{7*7}} ${x} %s",
    "",
)


def hostile(script: Scripts) -> Any:  # Any: a Source
    """Return a run in which every text is hostile."""
    run = script()
    for at, text in enumerate(HOSTILE):
        run.task(at, at + 0.5, key=text, name=text or "x", worker=text or "w", executor=text or "e", fails=text)
        run.task(at, at + 0.5, key=text, name=text or "x", worker=text or "w", executor=text or "e")
    return run.source(text=HOSTILE[0] + HOSTILE[5])


def written(source: Any, form: str) -> str:  # Any: a Source
    return "".join(REPORTS[form](source, report(source)))


class Parts(HTMLParser):
    """What of a page is markup."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: dict[str, list[str]] = {}
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self._inside = f"{tag} {dict(attrs).get('type', '')}".strip()

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._inside, []).append(data)


def test_html_holds_names_as_data_only(script: Scripts) -> None:
    """No name of a run becomes markup, none ends the element of the data, and all of them are in it as they were."""
    page = Parts(written(hostile(script), "html"))
    assert " ".join(page.tags) == "html head meta meta meta meta title style body main noscript p p script script"
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href")]
    data = json.loads("".join(page.texts["script application/json"]))
    assert {task["key"] for task in data["failed_tasks"]} == set(HOSTILE)


def test_html_lets_only_its_own_script_run(script: Scripts) -> None:
    """The policy names the digests of the one script and the one style there are, and nothing from anywhere else."""
    text = written(hostile(script), "html")
    page = Parts(text)
    policy = re.search(r'Policy" content="([^"]*)"', text)
    assert policy is not None
    wanted = {
        kind: f"'sha256-{base64.b64encode(hashlib.sha256(''.join(page.texts[kind]).encode()).digest()).decode()}'"
        for kind in ("script", "style")
    }
    assert policy[1] == (
        f"default-src 'none'; script-src {wanted['script']}; style-src {wanted['style']}; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text.replace("http://f", ""))
    assert ".innerHTML" not in text
    assert "insertAdjacentHTML" not in text


def test_markdown_lets_no_name_act(script: Scripts) -> None:
    """Names stand in code spans: no markup, no mention, no cell that ends early; tables keep their columns."""
    text = written(hostile(script), "md")
    outside = re.sub(r"\\.", "", re.sub(r"`[^`\n]*`", "", text))
    assert [mark for mark in ("<", "@everyone", "~~", "](") if mark in outside] == []
    assert "<!channel>" not in text
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({row.count("|") for row in table.splitlines()}) == 1, table
    assert not [char for char in text if not char.isprintable() and char != "\n"]


@pytest.mark.parametrize("text", HOSTILE)
def test_code_and_prose_are_safe(text: str) -> None:
    """One span, closed where it begins; a sentence escapes what is outside of its quotes."""
    assert re.fullmatch(r"`[^`|<>\n]+`", code(text))
    assert not re.search(r"(?<!\\)[<>|*~\[]|@\w", re.sub(r"`[^`]*`", "", prose(f"it is “{text}” and {text}")))


def test_junit_is_xml_whatever_the_names(script: Scripts) -> None:
    """A case for each task that failed, with its message and traceback, and the counts of all in the head."""
    run = script()
    for at, text in enumerate(HOSTILE):
        run.task(at, at + 0.5, key=text, name=text or "x", fails=text, state="timed_out" if at == 0 else "failed")
    run.task(99, 100)
    root = ElementTree.fromstring(written(run.source(), "junit"))
    [suite] = root
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped", "time", "hostname")} == {
        "tests": "11",
        "failures": "9",
        "errors": "1",
        "skipped": "0",
        "time": "100.000",
        "hostname": "box",
    }
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == [xml_text(text) for text in HOSTILE]
    assert [case[0].tag for case in cases] == ["error", *["failure"] * 9]
    assert cases[0][0].text == f"at {HOSTILE[0]}"
    assert {each.get("name"): each.get("value") for each in suite.iter("property")}["completed"] == "1"


def test_xml_text_shows_what_xml_cannot_say() -> None:
    """Control characters and lone surrogates become escapes; all else stays."""
    assert xml_text("a\x00b\x1bc\ud800d\udc80e\ufffff\t\n💡") == "a\\x00b\\x1bc\\ud800d\\x80e\\ufffff\t\n💡"


def test_json_fits_the_published_schema(script: Scripts) -> None:
    """`docs/report.schema.json` is the schema of what is written; where this fails, write it anew."""
    for name, schema in (("report", report_schema()), ("comparison", comparison_schema())):
        published = (DOCS / f"{name}.schema.json").read_text(encoding="utf-8")
        assert json.loads(published) == json.loads(json.dumps(schema)), name
    jsonschema.validate(json.loads(written(hostile(script), "json")), report_schema())


def test_json_is_all_of_the_report(script: Scripts) -> None:
    """What is read back is what was written."""
    source = hostile(script)
    made = report(source)
    read = msgspec.json.decode("".join(REPORTS["json"](source, made)), type=type(made))
    assert json.loads(msgspec.json.encode(read)) == json.loads(msgspec.json.encode(made))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "–"),
        (0.0, "0 ms"),
        (0.00002, "20 µs"),
        (0.12, "120 ms"),
        (0.9999, "1.0 s"),
        (4.25, "4.2 s"),
        (59.96, "1 m 0 s"),
        (192, "3 m 12 s"),
        (7500, "2 h 5 m"),
    ],
)
def test_durations_in_words(value: float | None, told: str) -> None:
    """As people read them."""
    assert seconds(value) == told


def test_numbers_in_words() -> None:
    """No more digits than help."""
    assert [number(value) for value in (0, 0.05, 3, 3.25, 1234.5)] == ["0", "0.05", "3", "3.2", "1,234"]
    assert [percent(share) for share in (0, 1e-5, 0.004, 0.5, 1)] == ["0%", "under 0.1%", "0.4%", "50%", "100%"]


def test_secrets_of_settings_and_command_are_masked() -> None:
    """By their names, in the settings that are shown, in what is hashed, and in the command line."""
    settings = {"sinks": [], "executors": {"dask": {"auth_token": "s3cret", "address": "tcp://x"}}}
    settings["probes"] = ["p\udcff"]
    record = RunRecord(
        run_id="r",
        started=1.0,
        command=["python", "--set", "sinks.web.token=s3cret", "--password", "s3cret", "x"],
        settings=settings,
    )
    environment = environment_of(record)
    assert environment.settings == {
        "executors": {"dask": {"auth_token": MASK, "address": "tcp://x"}},
        "probes": ["p\\udcff"],
    }
    assert facts_of(record, "completed").command == [
        "python",
        "--set",
        f"sinks.web.token={MASK}",
        "--password",
        MASK,
        "x",
    ]
    other = msgspec.structs.replace(record, settings={**settings, "executors": {"dask": {"address": "tcp://y"}}})
    assert environment_of(other).settings_hash != environment.settings_hash
