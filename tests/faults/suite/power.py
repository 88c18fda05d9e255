"""A disk that is cut off: from what was written down (see disk.c), the states that it may be left in.

What was synced is there; of what was not, anything may be: all, nothing, a part in another order, torn within a write.
Names last once their folder was synced, and are lost from the newest on.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from suite.trial import Skipped, Trial

SOURCE = Path(__file__).with_name("disk.c")
_HEAD = struct.Struct("<5q")


def compile_disk(trial: Trial) -> Path:
    """Return the shim, compiled."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise Skipped("no C compiler here: what stands before the C library is compiled by the scenario")
    target = trial.folder / "disk.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(target), str(SOURCE), "-ldl"], check=True, timeout=60
    )
    return target


class Act(NamedTuple):
    """What the process did: w(rite), t(runcate), s(ync), o(pen), m(ake folder), r(ename), u(nlink)."""

    kind: str
    file: int
    at: int
    data: bytes
    failed: int


def acts_of(log: Path) -> list[Act]:
    """Return what was written down, in order."""
    data, found, at = log.read_bytes(), [], 0
    while at < len(data):
        kind, file, place, size, failed = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        found.append(Act(chr(kind), file, place, data[at : at + size], failed))
        at += size
    return found


@dataclass(eq=False)
class File:
    """What is in a file: surely, and perhaps."""

    synced: bytearray = field(default_factory=bytearray)
    later: list[tuple[int, bytes | None]] = field(default_factory=list)
    """Writes at a place, or None for a new size."""

    def now(self) -> bytearray:
        """Return what the process would read."""
        return _with(self.synced, self.later)


class Disk:
    """All files below a folder, which is there from the beginning."""

    def __init__(self, root: Path) -> None:
        """Begin with nothing but the folder."""
        self.root = str(root)
        self._open: dict[int, File | str] = {}
        self._folders = {self.root}
        self._names: dict[str, File] = {}
        self._kept: dict[str, File | None] = {self.root: None}  # None: a folder
        self._later: dict[str, list[tuple[str, str, File | None]]] = {}

    def take(self, act: Act) -> None:
        """Do what the process did."""
        if act.failed:
            return
        if act.kind == "o":
            self._opened(act)
        elif act.kind in "mru":
            self._renamed(act)
        else:
            found = self._open[act.file]
            if isinstance(found, str):
                self._sync_folder(found)
            elif act.kind == "s":
                found.synced, found.later = found.now(), []
            else:
                found.later.append((act.at, act.data if act.kind == "w" else None))

    def as_it_is(self) -> dict[str, bytes | None]:
        """Return what a process would find: of the folders None."""
        return {
            **dict.fromkeys(self._folders, None),
            **{name: bytes(file.now()) for name, file in self._names.items()},
        }

    def cut_off(self, dice: random.Random | None) -> dict[str, bytes | None]:
        """Return what the disk may have after power loss: what is sure alone, or with some of the rest by the dice."""
        names = dict(self._kept)
        for acts in self._later.values():
            for kind, path, file in acts[: dice.randint(0, len(acts)) if dice else 0]:
                if kind == "gone":
                    names.pop(path, None)
                else:
                    names[path] = file
        found: dict[str, bytes | None] = {}
        for path, file in sorted(names.items()):
            if path == self.root or os.path.dirname(path) in found:
                found[path] = None if file is None else bytes(_with(file.synced, _some(file.later, dice)))
        return found

    def _opened(self, act: Act) -> None:
        path = act.data.decode()
        if path in self._folders:
            self._open[act.file] = path
            return
        if path not in self._names:
            self._names[path] = File()
            self._later.setdefault(os.path.dirname(path), []).append(("here", path, self._names[path]))
        self._open[act.file] = self._names[path]
        if act.at:
            self._names[path].later.append((0, None))

    def _renamed(self, act: Act) -> None:
        path, _, to = act.data.decode().partition("\0")
        later = self._later.setdefault(os.path.dirname(path), [])
        if act.kind == "m":
            self._folders.add(path)
            later.append(("here", path, None))
            return
        file = self._names.pop(path)
        if act.kind == "r":
            self._names[to] = file
            later.append(("here", to, file))
        later.append(("gone", path, None))

    def _sync_folder(self, folder: str) -> None:
        for kind, path, file in self._later.pop(folder, []):
            if kind == "gone":
                self._kept.pop(path, None)
            else:
                self._kept[path] = file


def put(state: dict[str, bytes | None], root: Path, target: Path) -> None:
    """Write a state to another folder, as the journal would find it: what was shared memory is gone."""
    for path, data in sorted(state.items()):
        place = target / os.path.relpath(path, root)
        if data is None:
            place.mkdir(mode=0o700, exist_ok=True)
        elif not path.endswith("-shm"):
            place.write_bytes(data)
            place.chmod(0o600)


def _with(data: bytearray, writes: list[tuple[int, bytes | None]]) -> bytearray:
    made = bytearray(data)
    for at, written in writes:
        size = at if written is None else at + len(written)
        if len(made) < size:
            made += bytes(size - len(made))
        if written is None:
            del made[at:]
        else:
            made[at:size] = written
    return made


def _some(later: list[tuple[int, bytes | None]], dice: random.Random | None) -> list[tuple[int, bytes | None]]:
    """Return some of the writes, in some order, some of them in part."""
    if dice is None or not later:
        return []
    chosen = [one for one in later if dice.random() < 0.7]
    if dice.random() < 0.5:
        dice.shuffle(chosen)
    return [piece for one in chosen for piece in _torn(*one, dice)]


def _torn(at: int, data: bytes | None, dice: random.Random) -> Iterator[tuple[int, bytes | None]]:
    if data is None or dice.random() < 0.7:
        yield at, data
        return
    sector = dice.choice((512, 4096))
    for begin in range(-(at % sector), len(data), sector):  # sectors of the disk, not of the write
        if dice.random() < 0.5:
            low, high = max(0, begin), min(len(data), begin + sector)
            yield at + low, data[low:high]
