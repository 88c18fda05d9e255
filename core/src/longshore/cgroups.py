"""Where the control groups of this process are, and what they limit: version 1, version 2, both at once, containers.

In: /proc/self/cgroup says which groups, /proc/self/mountinfo where they can be looked at. Out: for each controller its
groups from our own upwards, as far as they are visible here. Whatever cannot be read sets no limit; nothing raises.
What is written there and what it means: the kernel's Documentation/admin-guide/cgroup-v1/memory.rst, cgroup-v2.rst,
and cgroup_namespaces(7).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_BUFFER_BYTES = 65536
_NO_LIMIT_BYTES = 1 << 60
"""Version 1 says "none" by the largest multiple of a page; nobody has this much memory."""
_ESCAPED = re.compile(r"\\([0-7]{3})")
"""How mountinfo writes spaces, tabs, line ends and backslashes."""


class ControlGroup(NamedTuple):
    """One group: the version of its hierarchy, its name within what is visible of that, and its folder."""

    version: int
    name: str
    folder: str

    def text(self, file: str) -> str:
        """Return what one of its files says; "" if it is not there or cannot be read."""
        return text_of(f"{self.folder}/{file}")

    def number(self, file: str) -> int | None:
        """Return the number one of its files holds; None for "max", and for what is not there."""
        return _parse(self.text(file))

    def memory_limit_bytes(self, stat: str | None = None) -> int | None:
        """Return how much memory may be charged to it, None for no limit; `stat` is its memory.stat if that is known.

        Version 2: the lower of memory.max and memory.high, at which it is throttled. Version 1: memory.limit_in_bytes,
        or hierarchical_memory_limit where a group above, which need not be visible here, is tighter.
        """
        if self.version == 2:
            limits = [self.number("memory.max"), self.number("memory.high")]
        else:
            stat = self.text("memory.stat") if stat is None else stat
            limits = [self.number("memory.limit_in_bytes"), figure_of(stat, "hierarchical_memory_limit")]
        return min((limit for limit in limits if limit is not None and 0 < limit < _NO_LIMIT_BYTES), default=None)

    def cpu_quota(self) -> float | None:
        """Return how many cores' time it may use; None for no limit."""
        if self.version == 2:
            quota, period = [_parse(field) for field in [*self.text("cpu.max").split(), "", ""][:2]]
        else:
            quota, period = self.number("cpu.cfs_quota_us"), self.number("cpu.cfs_period_us")
        return quota / period if quota is not None and period is not None and quota > 0 and period > 0 else None


class ControlGroups:
    """The control groups a process is in; looks anew at each call, so that a move to another group is seen."""

    def __init__(self, process: str = "/proc/self") -> None:
        """Take the process's folder in /proc; nothing is read yet."""
        self._process = process
        self._membership: str | None = None
        self._groups: dict[str, Sequence[ControlGroup]] = {}

    def levels(self, controller: str) -> Sequence[ControlGroup]:
        """Return the groups that bind this process by `controller`, such as "memory", our own first.

        Those of version 1 come before those of version 2; where the controller is used in one, the other's say nothing.
        "" gives those of version 2 alone. Above a group of version 1 that keeps no account of the groups below it
        (memory.use_hierarchy is 0) none binds.
        """
        membership = text_of(f"{self._process}/cgroup")
        if membership != self._membership:
            self._membership, self._groups = membership, {}
        groups = self._groups.get(controller)
        if groups is None or (groups and not os.path.isdir(groups[0].folder)):
            groups = self._groups[controller] = list(self._find(controller))
        return groups

    def own(self, controller: str, version: int) -> ControlGroup | None:
        """Return the group of `version` that binds this process by `controller`; None where there is none to be seen.

        Where our own can't be looked at, it is the nearest above it: a container may be told the host's name of it.
        """
        of_version = (group for group in self.levels(controller) if group.version == version)
        return next((group for group in of_version if os.path.isdir(group.folder)), None)

    def _find(self, controller: str) -> Iterator[ControlGroup]:
        mounts = list(_mounts(text_of(f"{self._process}/mountinfo")))
        for line in (self._membership or "").splitlines():
            _, controllers, path = [*line.split(":", 2), "", ""][:3]
            if controller and controller in controllers.split(","):
                yield from _bound(_visible(1, path, [mount for mount in mounts if controller in mount.controllers]))
        for line in (self._membership or "").splitlines():
            if line.startswith("0::"):
                yield from _visible(2, line[3:], [mount for mount in mounts if mount.version == 2])


class _Mount(NamedTuple):
    """A place where groups can be looked at, which group stands there, and the controllers of version 1."""

    version: int
    root: str
    point: str
    controllers: frozenset[str]


def _mounts(text: str) -> Iterator[_Mount]:
    """Yield the mounts of control groups; of several on one folder the last, which covers the others."""
    found: dict[str, _Mount] = {}
    for line in text.splitlines():
        if "cgroup" not in line:  # neither a mount of them nor one on their folder
            continue
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) >= 5 and kind:
            root, point = (_ESCAPED.sub(lambda code: chr(int(code[1], 8)), field) for field in fields[3:5])
            found.pop(point, None)
            if kind[0] in ("cgroup", "cgroup2"):
                options = frozenset(kind[-1].split(",")) if kind[0] == "cgroup" else frozenset[str]()
                found[point] = _Mount(1 if kind[0] == "cgroup" else 2, root, point, options)
    return iter(found.values())


def _visible(version: int, path: str, mounts: Sequence[_Mount]) -> Sequence[ControlGroup]:
    """Return the group `path` and all above it, by the mount that shows most of them."""
    ways = [(_below(path, mount.root), mount) for mount in mounts if mount.version == version]
    below, mount = max(ways, key=lambda way: -1 if way[0] is None else len(way[0]), default=(None, None))
    if below is None or mount is None:
        return []
    # Where the path is the host's and not there in a container, the upper ones still are: what is missing says nothing.
    depths = range(len(below), -1, -1)
    return [ControlGroup(version, "/" + "/".join(below[:d]), "/".join([mount.point, *below[:d]])) for d in depths]


def _below(path: str, root: str) -> list[str] | None:
    """Return the way from `root` down to `path`; None where it does not lead there.

    A root above our namespace ("/..") has us somewhere below, the way is not told: it stands for itself alone. A path
    out of the namespace ("/../other") is below nothing that is shown here.
    """
    if root.startswith("/.."):
        return []
    steps, above = [part for part in path.split("/") if part], [part for part in root.split("/") if part]
    return None if ".." in steps or steps[: len(above)] != above else steps[len(above) :]


def _bound(groups: Sequence[ControlGroup]) -> Iterator[ControlGroup]:
    """Yield groups of version 1 up to where what is below is not counted any more."""
    for depth, group in enumerate(groups):
        if depth and group.number("memory.use_hierarchy") == 0:
            return
        yield group


def usable_memory_bytes(groups: ControlGroups | None = None) -> int | None:
    """Return how much memory this process may use: the machine's, or the least of its control groups' limits.

    None where the system does not say.
    """
    host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else None
    limits = [group.memory_limit_bytes() for group in (groups or ControlGroups()).levels("memory")]
    return min((limit for limit in [host, *limits] if limit is not None and limit > 0), default=None)


def text_of(path: str) -> str:
    """Return all of a file; "" if it is not there or cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return ""
    try:
        parts = [os.read(descriptor, _BUFFER_BYTES)]
        while parts[-1]:  # the kernel gives a long list a page at a time
            parts.append(os.read(descriptor, _BUFFER_BYTES))
        return b"".join(parts).decode("utf-8", "replace")
    except OSError:  # the group, or the process, went while it was read
        return ""
    finally:
        os.close(descriptor)


def figure_of(text: str, name: str) -> int | None:
    """Return the number that stands after `name` in a text with a name and a number a line; None if there is none."""
    _, found, after = f"\n{text}".partition(f"\n{name} ")
    return _parse(after.partition("\n")[0]) if found else None


def _parse(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:  # "max", or nothing at all
        return None


__all__ = ["ControlGroup", "ControlGroups", "figure_of", "text_of", "usable_memory_bytes"]
