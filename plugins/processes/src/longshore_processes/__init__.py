"""longshore-processes: supervised processes as workers of a longshore pool.

Lazy, because worker processes import submodules of this package and must not pay for what only the controller needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longshore_processes.executor import ProcessesExecutor

__all__ = ["ProcessesExecutor"]


def __getattr__(name: str) -> Any:  # Any: whichever public name is asked for
    """Import a public name when it is first asked for."""
    if name == "ProcessesExecutor":
        from longshore_processes.executor import ProcessesExecutor

        return ProcessesExecutor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
