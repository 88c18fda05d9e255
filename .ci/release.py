"""The one version of all our distributions: tell it, check it, set it. Called by `.ci/release`.

uv run python .ci/release.py version          # print it
uv run python .ci/release.py check [v0.2.0]   # exit 1 if there are several, a bound is not theirs, or a tag is another
uv run python .ci/release.py set 0.2.0        # write it everywhere, with the bounds between our distributions
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).parents[1]
_VERSION = re.compile(r'^(version = ")[^"]*(")$', re.MULTILINE)
_BOUND = re.compile(r'^(\s*(?:\w+ = \[)?"longshore(?:-\w+)?(?:\[[\w,]+\])?)[<>=~!][^"]*(")', re.MULTILINE)


def projects(root: Path) -> list[Path]:
    """Return the pyproject.toml of each distribution."""
    return [root / "pyproject.toml", root / "core/pyproject.toml", *sorted(root.glob("plugins/*/pyproject.toml"))]


def others(root: Path) -> list[Path]:
    """Return what else asks for our distributions: the examples of plugins, and the pages on writing them."""
    return [*sorted(root.glob("docs/examples/*/pyproject.toml")), *sorted(root.glob("docs/writing-plugins/*.md"))]


def bounds(version: Version) -> str:
    """Return what our distributions ask of each other at a version: it or later ones, before the next minor one."""
    return f">={version},<{version.major}.{version.minor + 1}"


def set_version(root: Path, version: Version) -> None:
    """Write a version into every distribution, and the bounds between them that follow."""
    own = projects(root)
    for path in [*own, *others(root)]:
        text = path.read_text("utf-8")
        if path in own:
            text = _VERSION.sub(rf"\g<1>{version}\g<2>", text, count=1)
        path.write_text(_BOUND.sub(rf"\g<1>{bounds(version)}\g<2>", text), "utf-8")


def version_of(root: Path) -> Version:
    """Return the version of `longshore` itself."""
    return Version(tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def forward(root: Path, version: Version) -> Version:
    """Return the version if it can be the next one; ValueError for one that is behind, or has its changes told."""
    own = version_of(root)
    told = re.search(rf"^## {re.escape(str(version))}\b", (root / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    if version < own or told:
        raise ValueError(f"{version} is no step forward from {own}, or stands in CHANGELOG.md")
    return version


def problems(root: Path, tag: str | None = None) -> Iterator[str]:
    """Yield what is not in step, in words."""
    version = version_of(root)
    if tag is not None and tag != f"v{version}":
        yield f"the tag is {tag}, and the distributions are {version}: bash .ci/release prepare {tag.removeprefix('v')}"
    for path in projects(root):
        found = Version(tomllib.loads(path.read_text("utf-8"))["project"]["version"])
        if found != version:
            yield f"{path.relative_to(root)} says {found}, and longshore {version}"
    for path in [*projects(root), *others(root)]:
        for asked in _BOUND.finditer(path.read_text("utf-8")):
            text, name = asked[0].rpartition('"longshore')[2].rstrip('"'), asked[1].rpartition('"')[2]
            if f"longshore{text}" != f"{name}{bounds(version)}":
                yield f"{path.relative_to(root)} asks for longshore{text}, which is to be {name}{bounds(version)}"


def main(arguments: Sequence[str]) -> int:
    """Do what is asked for, and return the exit status."""
    match arguments:
        case ["version"]:
            print(version_of(ROOT))
        case ["check", *tags] if len(tags) <= 1:
            told = list(problems(ROOT, *tags))
            print("\n".join(told) or f"all {len(projects(ROOT))} distributions are {version_of(ROOT)}")
            return 1 if told else 0
        case ["set", text]:
            try:
                version = forward(ROOT, Version(text))
            except (InvalidVersion, ValueError) as error:
                print(f"{error}: write it as 0.2.0 or 0.2.0rc1", file=sys.stderr)
                return 2
            set_version(ROOT, version)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
