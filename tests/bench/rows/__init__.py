"""The rows of the benchmark: what is measured, against whom, and what is expected of it."""

from __future__ import annotations

from kinds import Row

from rows.coroutines import COROUTINES
from rows.pools import POOLS
from rows.processes import PROCESSES
from rows.single import SINGLE
from rows.threads import THREADS


def _number(row: Row) -> tuple[int, str]:
    digits = row.key.rstrip("b")
    return int(digits), row.key


ROWS: tuple[Row, ...] = tuple(sorted((*COROUTINES, *THREADS, *PROCESSES, *SINGLE, *POOLS), key=_number))

__all__ = ["ROWS"]
