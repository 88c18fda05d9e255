"""The command `longshore`, also as `python -m longshore`: imports nothing but what the command needs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec

_NEEDED = ("cyclopts", "rich")
_WITHOUT = (
    "longshore: the command line is not installed: pip install longshore (for the core alone: longshore-core[cli])"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["--version"]:
        print(f"longshore {version('longshore-core')}")
        return 0
    if any(find_spec(name) is None for name in _NEEDED):
        print(_WITHOUT, file=sys.stderr)
        return 2
    from longshore.cli import run_command  # only now: it needs what was looked for above

    return run_command(given)


if __name__ == "__main__":
    sys.exit(main())
