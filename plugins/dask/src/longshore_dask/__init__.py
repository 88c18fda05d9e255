"""longshore-dask: the workers of a Dask cluster as workers of a longshore pool.

Lazy, because Dask's workers import submodules of this package and must not pay for what only the controller needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longshore_dask.executor import DaskExecutor

__all__ = ["DaskExecutor"]


def __getattr__(name: str) -> Any:  # Any: whichever public name is asked for
    """Import a public name when it is first asked for."""
    if name == "DaskExecutor":
        from longshore_dask.executor import DaskExecutor

        return DaskExecutor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
