"""From an approved candidate to its class: import through stevedore, then the contract; for the front and the check.

Whatever a plugin does at import short of ending the interpreter becomes state `failed` with a reason; only
KeyboardInterrupt passes, for that is the user's.
"""

from __future__ import annotations

import traceback
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from stevedore.named import NamedExtensionManager

from longshore._packing import message_of
from longshore._plugins.contract import class_problems, unsupported_api
from longshore._plugins.records import Candidate, PluginState
from longshore.hookspecs import PROJECT

_TEXT_CAP = 20_000

if TYPE_CHECKING:
    _Manager = NamedExtensionManager[Any]  # Any: an entry point can name anything
else:
    _Manager = NamedExtensionManager  # not generic at run time in the oldest stevedore we take


class _Approved(_Manager):
    """A stevedore manager that knows one entry point, ours: no scan, no disk cache, nothing else is imported."""

    def __init__(self, point: EntryPoint) -> None:
        self._point = point
        self.raised: BaseException | None = None
        super().__init__(point.group, [point.name], on_missing_entrypoints_callback=_expected)

    def list_entry_points(self) -> list[EntryPoint]:
        return [self._point]

    def _load_one_plugin(
        self, ep: EntryPoint, *args: Any, **kwargs: Any
    ) -> Any:  # Any: stevedore's, differs by version
        try:
            return super()._load_one_plugin(ep, *args, **kwargs)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a plugin's module may raise anything, SystemExit included
            self.raised = error
            return None


def _expected(names: object) -> None:
    """Say nothing: a plugin that could not be loaded is told of by its state."""


def load_class(candidate: Candidate) -> tuple[type[Any] | None, Candidate]:  # Any: a plugin's class, of whatever kind
    """Import the candidate and check it; return its class and it as loaded, or None and it with state and reason."""
    point = EntryPoint(candidate.name, candidate.value, f"{PROJECT}.{candidate.kind}")
    manager = _Approved(point)
    if manager.raised is not None:
        return None, failed(candidate, f"its import raised {in_a_line(manager.raised)}", manager.raised)
    found = manager.extensions[0].plugin
    try:
        outside = unsupported_api(candidate.kind, found, candidate.distribution)
        problems = class_problems(candidate.kind, found)
    except Exception as error:  # noqa: BLE001 - looking at a plugin's class runs its metaclass and descriptors
        return None, failed(candidate, f"checking it raised {in_a_line(error)}", error)
    if outside:
        return None, replace(candidate, state=PluginState.INCOMPATIBLE, reason=outside)
    if problems:
        return None, replace(candidate, state=PluginState.FAILED, reason="; ".join(problems))
    return found, replace(candidate, state=PluginState.LOADED, reason="", error=None)


def failed(candidate: Candidate, reason: str, error: BaseException | None = None) -> Candidate:
    """Return the candidate as failed, with the traceback of what it raised."""
    return replace(
        candidate, state=PluginState.FAILED, reason=reason, error=None if error is None else _traceback(error)
    )


def in_a_line(error: BaseException) -> str:
    """Return the exception's type and the first line of its message, whatever its `__str__` does."""
    lines = message_of(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))[-_TEXT_CAP:]
    except Exception:  # noqa: BLE001 - formatting calls the plugin's code
        return in_a_line(error)
