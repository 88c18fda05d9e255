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
_BOUND = re.compile(r'^(\s*(?:\w+ = \[)?"longshore(?:-\w+)?(?:\[\w+\])?)[<>=~!][^"]*(")', re.MULTILINE)


def projects(root: Path) -> list[Path]:
    """Return the pyproject.toml of each distribution."""
    return [root / "pyproject.toml", root / "core/pyproject.toml", *sorted(root.glob("plugins/*/pyproject.toml"))]


def bounds(version: Version) -> str:
    """Return what our distributions ask of each other at a version: it or later ones, before the next minor one."""
    return f">={version},<{version.major}.{version.minor + 1}"


def set_version(root: Path, version: Version) -> None:
    """Write a version into every distribution, and the bounds between them that follow."""
    for path in projects(root):
        text = path.read_text("utf-8")
        text = _VERSION.sub(rf"\g<1>{version}\g<2>", text, count=1)
        path.write_text(_BOUND.sub(rf"\g<1>{bounds(version)}\g<2>", text), "utf-8")


def version_of(root: Path) -> Version:
    """Return the version of `longshore` itself."""
    return Version(tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def problems(root: Path, tag: str | None = None) -> Iterator[str]:
    """Yield what is not in step, in words."""
    version = version_of(root)
    if tag is not None and tag != f"v{version}":
        yield f"the tag is {tag}, and the distributions are {version}: bash .ci/release prepare {tag.removeprefix('v')}"
    for path in projects(root):
        where = path.relative_to(root)
        project = tomllib.loads(path.read_text("utf-8"))["project"]
        if Version(project["version"]) != version:
            yield f"{where} says {project['version']}, and longshore {version}"
        extras = project.get("optional-dependencies", {}).values()
        for text in [*project.get("dependencies", []), *(text for extra in extras for text in extra)]:
            found = re.match(r"longshore(?:-\w+)?(?:\[[\w,]+\])?", text)
            if found and text != f"{found[0]}{bounds(version)}":
                yield f"{where} asks for {text}, which is to be {found[0]}{bounds(version)}"


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
                set_version(ROOT, Version(text))
            except InvalidVersion as error:
                print(f"{error}: write it as 0.2.0 or 0.2.0rc1", file=sys.stderr)
                return 2
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
