"""Calls the hooks of a pool: veto, route, observe. The pool makes one caller a run, through the front.

pluggy's own call loop stops at the first plugin that raises. So each plugin has a manager of its own here, called by
pluggy with the arguments it takes, and this loop goes on after one that raises.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import pluggy

from longshore._plugins.contract import manager, specs
from longshore._plugins.load import in_a_line
from longshore.errors import PluginError
from longshore.records import PoolInfo, RunSnapshot, RunSummary
from longshore.task import Outcome, Task

PATIENCE: Final = 5
"""How often in a row a plugin may raise before it is left alone."""

_NAMES: Final = tuple(specs("hooks"))
_LOG: Final = logging.getLogger("longshore.plugins")


class _Guarded:
    """One hooks plugin: its methods called by pluggy, what it raises counted."""

    __slots__ = ("errors", "in_a_row", "last_error", "manager", "name")

    def __init__(self, name: str, plugin: object) -> None:
        self.name = name
        self.errors = 0
        self.in_a_row = 0
        self.last_error = ""
        self.manager = manager("hooks")
        try:
            self.manager.register(plugin, name=name)
        except pluggy.PluginValidationError as error:
            raise PluginError(f"hook {name} does not keep its contract: {error}", kind="hooks", name=name) from error

    def place(self, method: str) -> int | None:
        """Return 0, 1 or 2 for a method marked tryfirst, not at all, or trylast; None when it has none."""
        found = getattr(self.manager.hook, method).get_hookimpls()
        if not found:
            return None
        return 0 if found[-1].tryfirst else 2 if found[-1].trylast else 1

    def call(self, method: str, arguments: dict[str, object]) -> object:
        """Return what the plugin's method gave; None when it raised, which is counted."""
        try:
            answer = getattr(self.manager.hook, method)(**arguments)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, and costs nobody but itself
            self.count(f"{method} raised {in_a_line(error)}")
            return None
        self.in_a_row = 0
        return answer

    def count(self, what: str) -> None:
        self.errors += 1
        self.in_a_row += 1
        self.last_error = what


class HookCaller:
    """The hooks of one pool, in the order they were listed (pluggy's tryfirst and trylast come before that).

    No call ever raises for a plugin: one that raises is counted, answers nothing, and does not keep the others from
    being asked; after PATIENCE failures in a row it is quarantined with one warning. Not to be called from two threads
    at a time. With no hooks `active` is False, and calling anything is a waste of time.
    """

    def __init__(
        self,
        plugins: Iterable[tuple[str, object]] = (),
        *,
        quarantine: Callable[[str, str], object] | None = None,
    ) -> None:
        """Call these (name, instance) pairs; `quarantine(name, reason)` is told of each plugin that is left alone."""
        self._all = tuple(_Guarded(name, plugin) for name, plugin in plugins)
        self._quarantine = quarantine
        self._quarantined: dict[str, str] = {}
        self._callees: dict[str, tuple[_Guarded, ...]] = {}
        self._arrange()

    @property
    def active(self) -> bool:
        """Tell whether any plugin implements any hook."""
        return any(self._callees.values())

    @property
    def admit_wanted(self) -> bool:
        """Tell whether any plugin implements `admit`."""
        return bool(self._callees["admit"])

    @property
    def route_wanted(self) -> bool:
        """Tell whether any plugin implements `route`."""
        return bool(self._callees["route"])

    @property
    def settled_wanted(self) -> bool:
        """Tell whether any plugin implements `task_settled`."""
        return bool(self._callees["task_settled"])

    @property
    def errors(self) -> dict[str, int]:
        """Return how often each plugin raised or answered nonsense, by name; those that never did are left out."""
        return {plugin.name: plugin.errors for plugin in self._all if plugin.errors}

    @property
    def notes(self) -> Sequence[str]:
        """Return a line for people on each plugin that failed, for the summary at the end."""
        return [
            f"hook {plugin.name} {'was quarantined after' if plugin.name in self._quarantined else 'had'} "
            f"{plugin.errors} error{'s' if plugin.errors > 1 else ''}; the last: {plugin.last_error}"
            for plugin in self._all
            if plugin.errors
        ]

    def admit(self, task: Task, snapshot: RunSnapshot) -> str | None:
        """Return the first reason to refuse the task, None to let it in; a plugin that raises refuses nothing."""
        return self._first("admit", {"task": task, "snapshot": snapshot})

    def route(self, task: Task) -> str | None:
        """Return the first executor named for the task, None to leave it to the pool."""
        return self._first("route", {"task": task})

    def task_settled(self, task: Task, outcome: Outcome) -> None:
        """Tell every plugin of a task's end."""
        self._tell("task_settled", {"task": task, "outcome": outcome})

    def pool_started(self, pool_info: PoolInfo) -> None:
        """Tell every plugin that the pool takes work."""
        self._tell("pool_started", {"pool_info": pool_info})

    def pool_stopped(self, summary: RunSummary) -> None:
        """Tell every plugin that the pool is over."""
        self._tell("pool_stopped", {"summary": summary})

    def _first(self, method: str, arguments: dict[str, object]) -> str | None:
        for plugin in self._callees[method]:
            answer = plugin.call(method, arguments)
            if isinstance(answer, list):  # pluggy lists the answers, but for a hook of which the first counts
                answer = answer[0] if answer else None
            if isinstance(answer, str):
                return answer
            if answer is not None:
                plugin.count(f"{method} answered {type(answer).__name__} where str or None was due")
            self._give_up_on(plugin)
        return None

    def _tell(self, method: str, arguments: dict[str, object]) -> None:
        for plugin in self._callees[method]:
            plugin.call(method, arguments)
            self._give_up_on(plugin)

    def _give_up_on(self, plugin: _Guarded) -> None:
        if plugin.in_a_row < PATIENCE or plugin.name in self._quarantined:
            return
        reason = f"it failed {plugin.in_a_row} times in a row; the last: {plugin.last_error}"
        self._quarantined[plugin.name] = reason
        self._arrange()
        _LOG.warning("hook %s is quarantined: %s", plugin.name, reason)
        if self._quarantine is not None:
            self._quarantine(plugin.name, reason)

    def _arrange(self) -> None:
        able = [plugin for plugin in self._all if plugin.name not in self._quarantined]
        for method in _NAMES:
            placed = [(place, plugin) for plugin in able if (place := plugin.place(method)) is not None]
            self._callees[method] = tuple(plugin for _, plugin in sorted(placed, key=_by_place))


def _by_place(placed: tuple[int, Any]) -> int:  # Any: the plugin beside it plays no part
    return placed[0]
