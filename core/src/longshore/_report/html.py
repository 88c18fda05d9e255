"""A report as one HTML file: all it needs is in it, it asks nothing of the network, and works from where it lies.

What comes from a run stands in it as data only: as JSON in which nothing can end the element, of which the script makes
text nodes. The policy in the head lets these two inline pieces run, known by their digests, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib.resources import files

import msgspec
from msgspec import Struct

from longshore._report.records import Report
from longshore._report.words import encodable

_ENDING = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def html(report: Report) -> str:
    """Return the file."""
    return page(report, title=f"{report.run.name}: {report.run.state}", said=report.verdict.text, scripts=_REPORT)


def page(content: Struct, *, title: str, said: str, scripts: tuple[str, ...]) -> str:
    """Return a page that draws `content`; without scripts it shows `said`."""
    style, script = _asset("page.css"), "".join(_asset(name) for name in scripts)
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{_shown(title)}</title>\n"
        f"<style>{style}</style></head>\n"
        f'<body><main id="main"></main><noscript><p>{_shown(said)}</p>'
        "<p>The charts and tables need JavaScript.</p></noscript>\n"
        f'<script type="application/json" id="data">{data(content)}</script>\n'
        f"<script>{script}</script>\n"
        "</body></html>\n"
    )


def data(content: Struct) -> str:
    """Return a record as JSON that may stand in a script element: nothing in it ends that, or begins a comment."""
    text = msgspec.json.encode(content).decode()
    for char, told in _ENDING.items():
        text = text.replace(char, told)
    return text


def _shown(text: str) -> str:
    return escape(encodable(text))


def _asset(name: str) -> str:
    return files("longshore._report").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


_REPORT = ("parts.js", "page.js", "timeline.js")
