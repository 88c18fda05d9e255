"""What to try: which distribution brings a name, and which name was meant. Pure; called where a message is made."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

FIRST_PARTY: Final = MappingProxyType(
    {
        ("executors", "asyncio"): "longshore-asyncio",
        ("executors", "threads"): "longshore-threads",
        ("executors", "processes"): "longshore-processes",
        ("executors", "dask"): "longshore-dask",
        ("executors", "ray"): "longshore-ray",
        ("probes", "psutil"): "longshore-psutil",
        ("probes", "nvml"): "longshore-nvml",
        ("sinks", "rich"): "longshore-rich",
        ("sinks", "jsonl"): "longshore-jsonl",
        ("sinks", "prometheus"): "longshore-prometheus",
        ("sinks", "otel"): "longshore-otel",
        ("sinks", "dashboard"): "longshore-dashboard",
        ("journals", "sqlite"): "longshore-sqlite",
        ("processors", "extract"): "longshore-documents",
        ("processors", "chunk"): "longshore-documents",
        ("pipelines", "documents"): "longshore-documents",
    }
)
"""Which distribution of ours brings which plugin, for the message when it is not installed."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant, None when none is near."""
    near = difflib.get_close_matches(word, sorted(set(known)), n=1, cutoff=0.6)
    return near[0] if near else None


def unknown_plugin(kind: str | None, name: str, installed: Iterable[tuple[str, str]]) -> str:
    """Return the message for a name nobody provides; `installed` holds the (kind, name) pairs that exist.

    With kind None the name was looked for in all of them.
    """
    what = kind.removesuffix("s") if kind else "plugin"
    start = f"there is no {what} named {name!r} installed"
    pairs = sorted(set(installed))
    here = sorted({known for its_kind, known in pairs if kind in (None, its_kind)})
    ours = {known: package for (its_kind, known), package in FIRST_PARTY.items() if kind in (None, its_kind)}
    if name in ours:
        return f"{start}: pip install {ours[name]}"
    near = nearest(name, [*here, *ours])
    if near is not None:
        return f"{start}: did you mean {near!r}{'' if near in here else f' (pip install {ours[near]})'}?"
    elsewhere = [its_kind for its_kind, known in pairs if known == name]
    if elsewhere:
        return f"{start}, but there is a {elsewhere[0].removesuffix('s')} of this name"
    have = f"installed: {', '.join(here)}" if here else f"no {what} is installed"
    return f"{start} ({have}): install the distribution that provides it"
