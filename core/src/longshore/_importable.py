"""Whether other processes can import a module: what is in one that they can't has to travel to them by value.

In: names of modules. Light, for workers import it with what their tasks share.
"""

from __future__ import annotations

import importlib.machinery
import sys
from typing import Any


def travels_by_value(module: str) -> bool:
    """Tell whether other processes can't import this module, and have cloudpickle carry what is in it by value then."""
    if module != "__main__" and _importable(module):
        return False
    if module != "__main__" and module in sys.modules:
        import cloudpickle  # only what pickle can't do by itself needs it

        # Left registered: no other process can import this module, so by value is the only way for anybody.
        cloudpickle.register_pickle_by_value(sys.modules[module])
    return True


def _importable(name: str) -> bool:
    """Tell whether another process with our sys.path would import this module from the same place."""
    module = sys.modules.get(name)
    spec = None
    path: Any = None  # Any: a package's path as finders take it
    try:
        for depth in range(name.count(".") + 1):
            part = ".".join(name.split(".")[: depth + 1])
            spec = _find(part, path)
            if spec is None:
                return False
            path = spec.submodule_search_locations
    except Exception:  # noqa: BLE001 - finders are anybody's code
        return False
    origin = getattr(module, "__file__", None)
    return origin is None or spec is None or spec.origin in (None, origin) or not spec.has_location


def _find(name: str, path: Any) -> importlib.machinery.ModuleSpec | None:  # Any: a package's path as finders take it
    for finder in sys.meta_path:
        spec = finder.find_spec(name, path)
        if spec is not None:
            return spec
    return None
