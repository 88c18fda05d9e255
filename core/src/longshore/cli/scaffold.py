"""A new plugin's distribution: its kind and its names in, the text of its files out. Called by `plugins new`.

The templates beside this file are plugins that work; only their names are left open.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import keyword
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath
from string import Template
from types import MappingProxyType
from typing import Final

from packaging.requirements import Requirement
from packaging.version import Version

from longshore._plugins.advice import FIRST_PARTY
from longshore._plugins.facts import CORE, normalised
from longshore._plugins.policy import RESERVED
from longshore.cli.console import UsageError
from longshore.plugins import Candidate

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_NAME_MOST: Final = 32
_DISTRIBUTION: Final = re.compile(
    r"[A-Za-z](?:[A-Za-z0-9]|[._-](?=[A-Za-z0-9]))*"
)  # as PEP 508, less what no module can be
_DISTRIBUTION_MOST: Final = 64
_OURS: Final = frozenset({"longshore", CORE, *FIRST_PARTY.values()})
_TOOLS: Final = frozenset({"hatchling", "mypy", "pytest", "ruff"})
"""What the templates name beside the core and what that needs: they are built, tested and checked with these."""
_NEEDS: Final = {"executors": ("pydantic",), "journals": ("msgspec", "pydantic"), "pipelines": ()}
"""What the templates import beside longshore; of the other kinds, pydantic alone."""


@dataclass(frozen=True, slots=True)
class Names:
    """What a plugin is called: in settings, on an index, and in Python."""

    kind: str
    name: str
    distribution: str
    package: str
    stem: str
    """What its classes begin with."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """What a template does, in words."""

    suffix: str
    does: str


_SAMPLES: Final[Mapping[str, _Sample]] = MappingProxyType(
    {
        "executors": _Sample("Executor", "it runs plain functions in threads"),
        "probes": _Sample("Probe", "it reads how full the disk of a folder is"),
        "sinks": _Sample("Sink", "it writes a line for each task that has ended"),
        "journals": _Sample("Journal", "it keeps each run in a file of JSON lines"),
        "processors": _Sample("Processor", "it counts the words of a text file"),
        "pipelines": _Sample("Pipeline", "it reads text files, and counts their words"),
        "hooks": _Sample("Hooks", "they refuse more of what has failed too often"),
    }
)


def names_of(kind: str, name: str, distribution: str | None = None) -> Names:
    """Return the names of a plugin, each valid where it is used; UsageError says which is not, and what would do."""
    _check_name(name)
    chosen = f"longshore-{name.replace('_', '-')}" if distribution is None else distribution
    if not _DISTRIBUTION.fullmatch(chosen) or len(chosen) > _DISTRIBUTION_MOST:
        raise UsageError(
            f"{chosen!r} can't be the name of a distribution: it begins with a letter, then has letters and digits, "
            f"with single dashes, dots or underscores between, at most {_DISTRIBUTION_MOST} in all"
        )
    package = normalised(chosen).replace("-", "_")
    if keyword.iskeyword(package) or package in sys.stdlib_module_names:
        what = "a keyword of Python" if keyword.iskeyword(package) else "a module of Python's own library"
        raise UsageError(f"{chosen} would have the module {package}, which is {what}: name it longshore-{chosen}")
    stem = "".join(part.capitalize() for part in re.split("[-_]", name))
    stem = stem.removesuffix(_SAMPLES[kind].suffix) or stem  # a ChatSink, not a ChatSinkSink
    if stem.startswith("Test"):
        made = f"{stem}{_SAMPLES[kind].suffix}"
        raise UsageError(
            f"{name!r} would have a class {made}, which pytest takes for tests: choose a name that does not begin so"
        )
    return Names(kind, name, chosen, package, stem)


def check_free(names: Names, installed: Sequence[Candidate]) -> list[str]:
    """Return notes on what is installed of these names already; UsageError if somebody else has one of them."""
    if (names.kind, names.name) in RESERVED:
        raise UsageError(f"the name {names.name} is the core's own: choose another")
    owner = FIRST_PARTY.get((names.kind, names.name))
    if owner is not None or normalised(names.distribution) in _OURS:
        raise UsageError(f"{owner or names.distribution} is one of longshore's own plugins: choose another name")
    if normalised(names.distribution) in _needed():
        raise UsageError(
            f"{names.distribution} is what longshore or the new plugin itself needs, and installing the new one would "
            f"take its place: choose another name, such as longshore-{names.distribution}"
        )
    for candidate in installed:
        same = (candidate.kind, candidate.name) == (names.kind, names.name)
        if same and normalised(candidate.distribution) != normalised(names.distribution):
            raise UsageError(
                f"{candidate.label} has this name already, and neither could be used beside the other: choose another"
            )
    try:
        version = importlib.metadata.version(names.distribution)
    except importlib.metadata.PackageNotFoundError:
        found = importlib.util.find_spec(names.package)
        if found is not None and found.origin is not None:
            raise UsageError(
                f"there is a module {names.package} already, {found.origin}: choose another name"
            ) from None
        return []
    return [f"{names.distribution} {version} is installed here: installing the new one takes its place"]


def _needed() -> set[str]:
    """Return what longshore, its plugins that are installed and the new plugin need, and what that needs in turn."""
    found, left = set(_TOOLS), [*_OURS, *_TOOLS]
    while left:
        for need in _needs_of(left.pop()):
            if need not in found:
                found.add(need)
                left.append(need)
    return found


def _needs_of(distribution: str) -> Iterator[str]:
    """Yield what an installed distribution requires here; of our own also what their extras do."""
    try:
        lines = importlib.metadata.requires(distribution) or ()
    except importlib.metadata.PackageNotFoundError:
        return
    for wanted in map(Requirement, lines):
        if distribution in _OURS or wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
            yield normalised(wanted.name)


def files_of(names: Names) -> dict[str, str]:
    """Return the text of each file of the distribution, by its path in it."""
    words = _words(names)
    folder = files("longshore.cli").joinpath("templates")
    made = {f"src/{names.package}/py.typed": ""}
    for part in ("common", names.kind):
        for template in folder.joinpath(part).iterdir():
            place = _place(names, template.name.removesuffix(".tmpl"))
            if place is not None:
                made[place] = Template(template.read_text(encoding="utf-8")).substitute(words)
    return dict(sorted(made.items()))


def _check_name(name: str) -> None:
    if _NAME.fullmatch(name) and len(name) <= _NAME_MOST:
        return
    near = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")[:_NAME_MOST].strip("-")
    hint = f"; {near!r} would do" if _NAME.fullmatch(near) else ""
    raise UsageError(
        f"{name!r} can't be the name of a plugin: it begins with a lower-case letter, then has such letters and "
        f"digits, with single dashes or underscores between, at most {_NAME_MOST} in all{hint}"
    )


def _place(names: Names, file: str) -> str | None:
    """Return where a template's file goes; None for a part of another file."""
    if file == "usage.md":
        return None
    if file == "gitignore":
        return ".gitignore"
    if file in ("pyproject.toml", "README.md"):
        return file
    folder = PurePosixPath("tests" if file.startswith("test_") else f"src/{names.package}")
    return str(folder / file)


def _words(names: Names) -> dict[str, str]:
    """Return what the templates leave open."""
    sample, bounds = _SAMPLES[names.kind], _bounds()
    needs = [f"{CORE}{bounds}", *(_as_core_has_it(need) for need in _NEEDS.get(names.kind, ("pydantic",)))]
    one = names.kind if names.kind == "hooks" else names.kind.removesuffix("s")
    text = f"The {one} {names.name} for longshore: {sample.does}."
    words = {
        **{field: getattr(names, field) for field in ("kind", "name", "distribution", "package", "stem")},
        "one": one,
        "does": sample.does,
        "class": f"{names.stem}{sample.suffix}",
        "summary": text,
        "bounds": bounds,
        "dependencies": "\n".join(f'    "{need}",' for need in needs),
        "suite": _SUITES.get(
            names.kind, "has the suite of tests that longshore ships for its kind, and more of its own."
        ),
    }
    usage = files("longshore.cli").joinpath("templates", names.kind, "usage.md.tmpl").read_text(encoding="utf-8")
    return {**words, "use": Template(usage).substitute(words)}


_SUITES: Final = dict.fromkeys(("pipelines", "hooks"), "loads it as longshore does, and tries it in a pool.")


def _bounds() -> str:
    """Return the versions of the core that a plugin written now is for: this one, up to where contracts may change."""
    version = Version(importlib.metadata.version(CORE))
    until = f"{version.major + 1}" if version.major else f"0.{version.minor + 1}"
    return f">={version.public},<{until}"


def _as_core_has_it(name: str) -> str:
    """Return a requirement with the bounds that the core has on it: those are tried together."""
    for line in importlib.metadata.requires(CORE) or ():
        wanted = Requirement(line)
        if normalised(wanted.name) == name and wanted.marker is None:
            lower, upper = sorted(map(str, wanted.specifier), reverse=True)
            return f"{name}{lower},{upper}"
    raise LookupError(f"{CORE} does not require {name}")
