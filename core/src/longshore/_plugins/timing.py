"""How long a plugin takes to load, beyond what a pool has loaded already, and what of it takes longest.

Measured in fresh processes, the best of several, less what each waited for a processor that others had: what else a
machine does only makes it longer. Called by the front.
"""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from longshore._plugins.apart import OUTPUT, run_apart
from longshore._plugins.records import Candidate

TRIES: Final = 3
_SHOWN: Final = 3
_MARK: Final = "longshore: what comes now is the plugin's"
_LISTED: Final = """
import importlib, importlib.util
def import_module(name, package=None):
    full = importlib.util.resolve_name(name, package) if name.startswith(".") else name
    __import__(full)
    return sys.modules[full]
importlib.import_module = import_module
"""
"""What makes `-X importtime` whole: a module has no line in it that the interpreter's own `import_module` loads.

An entry point is loaded by that, so the plugin's own module would be the one that is left out.
"""
_CODE: Final = f"""
import time
from importlib.metadata import EntryPoint
import longshore.pool, longshore.plugins, asyncio, concurrent.futures, importlib.resources

def waited():  # seconds this thread was ready and had no processor, where the system tells
    try:
        with open("/proc/self/schedstat") as file: return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0

point = EntryPoint(spec["name"], spec["value"], "longshore." + spec["kind"])
print({_MARK!r}, file=sys.stderr, flush=True)
began = time.perf_counter()
before = waited()
point.load()
others = waited() - before
took = time.perf_counter() - began - others
with open(sys.argv[1] + "/took.txt", "w") as file: file.write(repr(took))
import os
os._exit(0)
"""


class LoadTime(Struct, frozen=True, kw_only=True):
    """What loading a plugin's class takes."""

    ms: float
    heaviest: tuple[tuple[str, float], ...] = ()
    """Of one over its budget: the packages that take longest to import of what it brings, each with its milliseconds.

    Its own may be one of them. They are its parts of `ms`: the looking, which takes time itself, is taken off.
    """


def load_time(candidate: Candidate, budget_ms: float, *, deadline_s: float = 30.0) -> LoadTime | None:
    """Return how long the candidate's class takes to load; None if that can't be done.

    A pool, its plugin host and asyncio are loaded before, so their parts cost a plugin nothing.
    """
    spec = {"kind": candidate.kind, "name": candidate.name, "value": candidate.value}
    times = []
    for _ in range(TRIES):
        took = _once(spec, deadline_s)
        if took is None:
            return None
        times.append(took[0])
    ms = round(min(times) * 1000, 1)
    listed = _once(spec, deadline_s, listing=True) if ms > budget_ms else None
    return LoadTime(ms=ms, heaviest=() if listed is None else _heaviest(*listed, of=_package(candidate), whole_ms=ms))


def _once(spec: dict[str, str], deadline_s: float, *, listing: bool = False) -> tuple[float, list[str]] | None:
    with tempfile.TemporaryDirectory(prefix="longshore-time-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        options = ("-X", "importtime") if listing else ()
        # compiling is no part of it: an installer has done that, or the first try does
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        run_apart(folder, spec, _LISTED + _CODE if listing else _CODE, deadline_s, options=options, environ=environ)
        with suppress(OSError, ValueError):
            said = (folder / OUTPUT).read_text(encoding="utf-8", errors="replace")
            return float((folder / "took.txt").read_text()), said.partition(_MARK)[2].splitlines()
    return None


def _package(candidate: Candidate) -> str:
    """Return the package that the candidate's class is looked up in."""
    return candidate.value.partition(":")[0].strip().partition(".")[0]


def _heaviest(took_s: float, lines: Iterable[str], *, of: str, whole_ms: float) -> tuple[tuple[str, float], ...]:
    """Return the packages that took longest, from lines as `-X importtime` prints, in parts of the whole.

    What the listed load took beyond its lines is that of its own package, such as what an attribute of it does.
    """
    by_package: dict[str, float] = defaultdict(float)
    for line in lines:
        head, colon, rest = line.partition("import time:")
        own, _, module = rest.partition("|")
        if colon and not head and own.strip().isdigit():
            by_package[module.rpartition("|")[2].strip().partition(".")[0]] += int(own) / 1000
    by_package[of] += max(0.0, took_s * 1000 - sum(by_package.values()))
    largest = sorted(by_package.items(), key=lambda item: -item[1])[:_SHOWN]
    part = min(1.0, whole_ms / max(sum(by_package.values()), 0.001))
    return tuple((package, round(ms * part, 1)) for package, ms in largest if ms)
