"""longshore-ray: a Ray cluster as workers of a longshore pool.

Lazy, because Ray's workers import submodules of this package and must not pay for what only the controller needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longshore_ray.executor import RayExecutor

__all__ = ["RayExecutor"]


def __getattr__(name: str) -> Any:  # Any: whichever public name is asked for
    """Import a public name when it is first asked for."""
    if name == "RayExecutor":
        from longshore_ray.executor import RayExecutor

        return RayExecutor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
