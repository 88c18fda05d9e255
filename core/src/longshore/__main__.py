"""The command `longshore`, also as `python -m longshore`: imports nothing but what the command needs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

_INTERRUPTED = 130
_NEEDED = ("cyclopts", "rich")
_WITHOUT = (
    "longshore: the command line is not installed: pip install longshore (for the core alone: longshore-core[cli])"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; 130 for Ctrl-C, also while there is nothing but imports yet."""
    try:
        return _run(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:
        return _INTERRUPTED


def _run(given: list[str]) -> int:
    if given == ["--version"]:
        from importlib.metadata import version  # slow enough to be interrupted, and not always needed

        print(f"longshore {version('longshore-core')}")
        return 0
    if any(find_spec(name) is None for name in _NEEDED):
        print(_WITHOUT, file=sys.stderr)
        return 2
    from longshore.cli import run_command  # only now: it needs what was looked for above

    return run_command(given)


if __name__ == "__main__":
    sys.exit(main())
