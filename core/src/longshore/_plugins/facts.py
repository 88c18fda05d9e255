"""What is installed, read from metadata alone: distributions in, sorted facts out. The front calls it, once a host.

Nothing is imported, and one distribution whose metadata cannot be read costs only itself.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError

from msgspec import Struct

from longshore._plugins.advice import nearest
from longshore._plugins.records import Fact
from longshore.hookspecs import KINDS, PROJECT

CORE = "longshore-core"


class Facts(Struct, frozen=True):
    """The plugins found, and what was found but could not be read, a line each."""

    plugins: tuple[Fact, ...]
    problems: tuple[str, ...]


def normalised(distribution: str) -> str:
    """Return a distribution's name as names are compared: lower case, runs of `-_.` as one dash."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def core_version() -> str | None:
    """Return the version of this core, None where it is not installed as a distribution."""
    try:
        return importlib.metadata.version(CORE)
    except PackageNotFoundError:
        return None


def read_facts(distributions: Iterable[Distribution]) -> Facts:
    """Return what these distributions declare; of those with one name the first counts, as it does at import."""
    plugins: list[Fact] = []
    problems: list[str] = []
    seen: set[str] = set()
    for distribution in distributions:
        try:
            key = _key(distribution)
            if key in seen:
                continue
            seen.add(key)
            found, notes = _declared(distribution)
        except Exception as error:  # noqa: BLE001 - metadata is anybody's text, and malformed in any way must stay theirs
            problems.append(f"{_place(distribution)}: its metadata cannot be read ({type(error).__name__}: {error})")
        else:
            plugins += found
            problems += notes
    return Facts(tuple(sorted(plugins)), tuple(sorted(problems)))


def _key(distribution: Distribution) -> str:
    # `name` parses the whole METADATA, 0.4 ms each; the stdlib compares by this one, taken from the folder's name
    quick = getattr(distribution, "_normalized_name", None)
    return normalised(quick if isinstance(quick, str) else distribution.name)


def _place(distribution: Distribution) -> str:
    path = getattr(distribution, "_path", None)
    return f"distribution at {path}" if path is not None else "a distribution"


def _declared(distribution: Distribution) -> tuple[list[Fact], list[str]]:
    points = [point for point in distribution.entry_points if point.group.startswith(f"{PROJECT}.")]
    if not points:
        return [], []
    name, version = distribution.name, distribution.version
    if not name or not version:  # the stdlib gives None for what METADATA lacks, against its own annotation
        raise ValueError("it has no name or no version")
    requires = tuple(distribution.requires or ())
    facts: list[Fact] = []
    notes: list[str] = []
    for point in points:
        kind = point.group.removeprefix(f"{PROJECT}.")
        if kind in KINDS:
            facts.append(
                Fact(
                    kind=kind, name=point.name, distribution=name, version=version, value=point.value, requires=requires
                )
            )
        else:
            notes.append(_unknown_group(name, point, kind))
    return facts, notes


def _unknown_group(distribution: str, point: EntryPoint, kind: str) -> str:
    near = nearest(kind, KINDS)
    hint = f"; did you mean {PROJECT}.{near}?" if near else ""
    return f"{distribution}: {point.name} is in the entry-point group {point.group}, which is no kind of plugin{hint}"
