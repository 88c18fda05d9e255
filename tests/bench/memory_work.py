"""Tasks whose peak of memory nobody was told, and the book in which each writes when it began and when it ended.

python memory_work.py BOOK SEED NUMBER TASKS    # one task, as a program of its own
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Sequence

MB = 1_000_000
SMALL_MB, LARGE_MB = 50, 1500
LARGE_SHARE = 0.1
HELD_S = 0.3
_STEPS = 10
_PAGE_BYTES = 4096


def peaks_mb(tasks: int, seed: int) -> Sequence[int]:
    """Return what each task takes: one in ten much, the others little, in an order that the dice say."""
    large = int(tasks * LARGE_SHARE)
    peaks = [LARGE_MB] * large + [SMALL_MB] * (tasks - large)
    random.Random(seed).shuffle(peaks)
    return peaks


def take(book: str, number: int, peak_mb: int) -> int:
    """Take memory in ten steps over the first half of HELD_S, hold it for the other, and give the number back."""
    _write(book, f"begin {number}\n")
    began, kept = time.monotonic(), []
    for step in range(1, _STEPS + 1):
        part = bytearray(peak_mb * MB // _STEPS)
        part[::_PAGE_BYTES] = b"x" * len(range(0, len(part), _PAGE_BYTES))
        kept.append(part)
        time.sleep(max(0.0, began + HELD_S / 2 * step / _STEPS - time.monotonic()))
    time.sleep(max(0.0, began + HELD_S - time.monotonic()))
    _write(book, f"end {number}\n")
    return number


def _write(book: str, line: str) -> None:
    with open(book, "ab", buffering=0) as file:
        file.write(f"{time.monotonic():.6f} {os.getpid()} {line}".encode())


if __name__ == "__main__":
    place, seed, one = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    take(place, one, peaks_mb(int(sys.argv[4]), seed)[one])
