"""A report in the formats there are, each as pieces of text for a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice

import msgspec
from msgspec import Struct

from longshore._report.compare import Comparison
from longshore._report.compared import compared_html, compared_markdown
from longshore._report.gather import Source, failures, spans
from longshore._report.html import html
from longshore._report.junit import junit
from longshore._report.markdown import markdown
from longshore._report.records import Report
from longshore._report.traces import SPANS_MOST, chrome, speedscope, tracks

Pieces = Iterable[str]


def _json(content: Struct) -> Pieces:
    return [msgspec.json.format(msgspec.json.encode(content), indent=1).decode(), "\n"]


def _junit(source: Source, report: Report) -> Pieces:
    return junit(report.run, report.totals, failures(source), source.failed_inputs)


def _chrome(source: Source, report: Report) -> Pieces:
    found = tracks(islice(spans(source), SPANS_MOST))
    left_out = max(0, (report.timeline.total if report.timeline is not None else 0) - SPANS_MOST)
    return chrome(report.run.name, source.span[0], found, report.running, left_out)


def _speedscope(source: Source, report: Report) -> Pieces:
    return speedscope(report.run.name, source.span[0], tracks(islice(spans(source), SPANS_MOST)))


REPORTS: Mapping[str, Callable[[Source, Report], Pieces]] = {
    "html": lambda _, report: [html(report)],
    "md": lambda _, report: [markdown(report)],
    "json": lambda _, report: _json(report),
    "junit": _junit,
    "chrome": _chrome,
    "speedscope": _speedscope,
}
"""By the name of the format."""
COMPARISONS: Mapping[str, Callable[[Comparison], Pieces]] = {
    "html": lambda comparison: [compared_html(comparison)],
    "md": lambda comparison: [compared_markdown(comparison)],
    "json": _json,
}
