"""What a run has learnt of its tasks, by kind, as its journal has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from longshore._runtime.learnt import LEARNT, LearntKind, learnt_kinds
from longshore.cli.console import line
from longshore.errors import JournalError
from longshore.hookspecs import Archive

_SHOWN: Final = 20
_KIB: Final = 1 << 10
_UNITS: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (_KIB, "KiB"))


def learnt_of(archive: Archive, run_id: str) -> list[LearntKind]:
    """Return what is recorded as learnt in a run, the kinds heard of last first."""
    with suppress(JournalError):
        return learnt_kinds(archive.states(run_id, (LEARNT,)).get(LEARNT))
    return []


def learnt_lines(kinds: Sequence[LearntKind]) -> Iterator[str]:
    """Yield it for people; nothing where nothing was learnt."""
    if not kinds:
        return
    yield f"learnt of what tasks take, by kind: {len(kinds)}"
    for kind in kinds[:_SHOWN]:
        yield line(f"  {kind.name}, inputs up to {_size(kind.input_bytes_most)}: {_taken(kind)}")
    if len(kinds) > _SHOWN:
        yield f"  and {len(kinds) - _SHOWN} more"


def _taken(kind: LearntKind) -> str:
    aside = "nothing is set aside yet" if kind.memory_mb is None else f"{kind.memory_mb:.3g} MB are set aside"
    told = f"{aside}, {kind.most_mb:.3g} MB was the most of the last, {kind.tasks} seen to their end"
    told += f", {kind.ended} ended before" if kind.ended else ""
    return told if kind.cores is None else f"{told}, {kind.cores:.2g} cores"


def _size(size_bytes: int) -> str:
    for unit, name in _UNITS:
        if size_bytes >= unit:
            return f"{size_bytes // unit} {name}"
    return f"{size_bytes} B"
