"""Plugins for one test: a host that knows only what it is handed, and a distribution that is installed for a while."""

from __future__ import annotations

import ast
import importlib
import sys
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from importlib.metadata import Distribution, distributions
from itertools import chain, count, dropwhile
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any, Final

from longshore.hookspecs import KINDS, PROJECT
from longshore.plugins import PluginHost, PluginPolicy

_HANDED: Final = "handed-to-the-test"
"""The distribution that classes handed to a host are said to be of; its version is 0."""
_numbers = count(1)

_Entries = Mapping[str, str]
"""The entry points of one kind: what each plugin is called, and the attribute of the module that is its class."""


class TmpPlugin:
    """A distribution of one module, as `tmp_plugin` has made it."""

    def __init__(self, distribution: str, module: str, folder: Path) -> None:
        """Name what is there."""
        self.distribution = distribution
        self.module = module
        """The module with the plugins' classes."""
        self.folder = folder
        """What stands on `sys.path`."""
        self.path = folder / f"{module}.py"
        """The file of the module."""
        self._mark = folder / f"{module}.imported"

    def was_imported(self) -> bool:
        """Tell whether its module was imported, in whatever process, since it was made or this was last forgotten."""
        return self._mark.exists()

    def forget_import(self) -> None:
        """Count imports from now on only."""
        self._mark.unlink(missing_ok=True)


@contextmanager
def tmp_plugin(
    distribution: str,
    code: str = "",
    *,
    version: str = "1.0",
    requires: Iterable[str] = (),
    folder: Path | None = None,
    **kinds: _Entries,
) -> Iterator[TmpPlugin]:
    """Install a distribution with a module of this code, and take it away at the end; nothing is downloaded or built.

    Whoever looks for installed plugins finds it meanwhile, as entry points and as what can be imported:

        with tmp_plugin("acme-chat", CODE, sinks={"chat": "ChatSink"}):
            WorkerPool(sinks=["chat"])

    `folder` is where it is made, a temporary one unless it is given; it stands on `sys.path`, also for workers that are
    started meanwhile. `requires` are lines such as "longshore-core>=0.1".
    """
    with ExitStack() as stack:
        made = tempfile.TemporaryDirectory(prefix="longshore-plugin-") if folder is None else nullcontext(str(folder))
        home = Path(stack.enter_context(made))
        name = distribution.replace("-", "_").replace(".", "_")
        plugin = TmpPlugin(distribution, f"tmp_{name}", home)
        info = home / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(_metadata(distribution, version, requires), encoding="utf-8")
        points = _entry_points({kind: _of_module(plugin.module, entries) for kind, entries in kinds.items()})
        (info / "entry_points.txt").write_text(points, encoding="utf-8")
        plugin.path.write_text(_marking(dedent(code), plugin._mark), encoding="utf-8")
        sys.path.insert(0, str(home))
        importlib.invalidate_caches()
        try:
            yield plugin
        finally:
            sys.path.remove(str(home))
            sys.modules.pop(plugin.module, None)


def plugin_host(
    *plugins: TmpPlugin,
    policy: PluginPolicy | None = None,
    failures: Path | None = None,
    **kinds: Mapping[str, type[Any]],  # Any: plugins of every kind
) -> PluginHost:
    """Return a host that knows the plugins it is handed and no others, whatever is installed.

    Classes are handed by kind and name, and need not stand where they can be imported from; those of `tmp_plugin` by
    what that gives; ValueError for a kind that there is not. `failures` is the file of last failures, None for none.

        host = plugin_host(sinks={"chat": ChatSink})
        sink = host.create("sinks", "chat", {"url": "http://127.0.0.1:9"})
    """
    name = f"_longshore_handed_{next(_numbers)}"
    home = ModuleType(name)
    points: dict[str, dict[str, str]] = {}
    for kind, classes in kinds.items():
        if kind not in KINDS:
            raise ValueError(f"there is no kind of plugin {kind!r}, only {', '.join(KINDS)}")
        for place, (plugin, cls) in enumerate(classes.items()):
            setattr(home, f"{kind}_{place}", cls)
            points.setdefault(kind, {})[plugin] = f"{name}:{kind}_{place}"
    folders = dict.fromkeys(str(plugin.folder) for plugin in plugins)

    def found() -> Iterable[Distribution]:
        return chain([_Handed(points)] if points else [], distributions(path=list(folders)) if folders else [])

    host = PluginHost(policy, distributions=found, failures=failures)
    sys.modules[name] = home
    weakref.finalize(host, sys.modules.pop, name, None)
    return host


class _Handed(Distribution):
    """What is handed to a host, as metadata; there are no files."""

    def __init__(self, points: Mapping[str, _Entries]) -> None:
        self._texts = {"METADATA": _metadata(_HANDED, "0"), "entry_points.txt": _entry_points(points)}

    def read_text(self, filename: str) -> str | None:
        return self._texts.get(filename)

    def locate_file(self, path: Any) -> Path:  # Any: as the standard library has it, by version
        raise FileNotFoundError(f"{path}: {_HANDED} has no files")


def _marking(code: str, mark: Path) -> str:
    """Return code that leaves a mark when it is run, before all that it does; what must come first stays first."""
    lines = f"{code}\n".splitlines(keepends=True)
    try:
        later = list(dropwhile(_comes_first, ast.parse(code).body))
        place = min((_begin(statement) for statement in later[:1]), default=len(lines))
    except SyntaxError:  # the test's own: it is to be found when it is imported
        place = 0
    return "".join([*lines[:place], f"__import__('pathlib').Path({str(mark)!r}).touch()\n", *lines[place:]])


def _begin(statement: ast.stmt) -> int:
    """Return how many lines stand before a statement and what decorates it."""
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)]) - 1


def _comes_first(statement: ast.stmt) -> bool:
    """Tell whether nothing but a text may stand before a statement, or it is a text itself, such as a docstring."""
    if isinstance(statement, ast.ImportFrom):
        return statement.module == "__future__"
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _metadata(name: str, version: str, requires: Iterable[str] = ()) -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    return "\n".join([*lines, *(f"Requires-Dist: {line}" for line in requires)]) + "\n\n"


def _of_module(module: str, entries: _Entries) -> _Entries:
    return {name: f"{module}:{attribute}" for name, attribute in entries.items()}


def _entry_points(kinds: Mapping[str, _Entries]) -> str:
    groups = []
    for kind, entries in kinds.items():
        groups.append(f"[{PROJECT}.{kind}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items()))
    return "\n".join(groups)


__all__ = ["TmpPlugin", "plugin_host", "tmp_plugin"]
