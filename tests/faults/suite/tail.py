"""Somebody who reads a file of lines while it is written, as `tail -F` does, and judges each line."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

_LOOK_S = 0.002
_PATIENCE_S = 0.5  # half a line after that stays one


def judge(line: bytes) -> dict[str, Any] | None:  # Any: JSON
    """Return what a line without its end says; None for one that is not valid, or not fit for a terminal."""
    if any(byte < 0x20 or byte > 0x7E for byte in line):
        return None
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


class Tail(threading.Thread):
    """Follows a file, whoever moves it away; `bad` are lines that were not valid when they had come to their end."""

    def __init__(self, path: Path) -> None:
        """Prepare to read what comes to `path`."""
        super().__init__(name="tail", daemon=True)
        self._path = path
        self._over = threading.Event()
        self.read = 0
        self.bad: list[bytes] = []
        self.rotated = 0

    def run(self) -> None:
        """Read until stopped, and then what is left."""
        for data in self._pieces():
            for line in data:
                self.read += 1
                if judge(line) is None:
                    self.bad.append(line)

    def __enter__(self) -> Tail:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Read to the end, and join."""
        self._over.set()
        self.join()

    def _pieces(self) -> Iterator[list[bytes]]:
        """Yield the whole lines that have come since."""
        file, rest = open(self._path, "rb"), b""  # noqa: SIM115 - another takes its place when it is moved away
        try:
            while True:
                last, moved = self._over.is_set(), self._moved(file.fileno())
                *lines, rest = (rest + file.read()).split(b"\n")
                yield lines
                if moved or last:
                    yield from self._rest(file, rest)
                    rest = b""
                if moved:
                    self.rotated += 1
                    file.close()
                    file = open(self._path, "rb")  # noqa: SIM115 - as above
                elif last:
                    return
                else:
                    self._over.wait(_LOOK_S)
        finally:
            file.close()

    def _rest(self, file: BinaryIO, rest: bytes) -> Iterator[list[bytes]]:
        """Yield what still comes to a file that nobody begins to write to any more, half a line as a line."""
        give_up = time.monotonic() + _PATIENCE_S
        while rest and time.monotonic() < give_up:
            time.sleep(_LOOK_S)
            *lines, rest = (rest + file.read()).split(b"\n")
            yield lines
        if rest:
            yield [rest]

    def _moved(self, descriptor: int) -> bool:
        try:
            there = os.stat(self._path)
        except FileNotFoundError:  # the next one is not there yet
            return False
        return there.st_ino != os.fstat(descriptor).st_ino
