"""Where the profiles of a run go, and what is said of them at its end. Used by the way in and by the pool."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec

from longshore._profiling import FILES_MOST, SUFFIX


class Profiles:
    """The folder of a run's profiles, made when the first task is to be profiled."""

    def __init__(self, name: str, run_folder: Callable[[], str | None]) -> None:
        """Be in the run's folder, if it is recorded in one; else below the current one, by this name."""
        self._name = name
        self._run_folder = run_folder
        self._folder: str | None = None

    def folder(self) -> str:
        """Return it; ValueError where there is no profiler, or no folder can be made."""
        if self._folder is None:
            check_profiler()
            kept = self._run_folder()
            parts = (kept, "profiles") if kept is not None else ("longshore-profiles", self._name)
            place = os.path.join(*parts)
            try:
                folder = os.path.abspath(place)
                os.makedirs(folder, mode=0o700, exist_ok=True)
            except OSError as error:
                raise ValueError(f"there can be no profiles: the folder {place} cannot be made: {error}") from error
            self._folder = folder
        return self._folder

    def notes(self) -> list[str]:
        """Return a line on what there is, where any task was to be profiled."""
        if self._folder is None:
            return []
        try:
            found = sum(name.endswith(SUFFIX) for name in os.listdir(self._folder))
        except OSError as error:
            return [f"the profiles in {self._folder} cannot be read: {error}"]
        most = f"; no more than the first {FILES_MOST} are kept" if found >= FILES_MOST else ""
        return [f"{found} profiles are in {self._folder}: load one at https://speedscope.app{most}"]


def check_profiler() -> None:
    """Raise ValueError where the library that profiles is not installed."""
    if find_spec("pyinstrument") is None:
        raise ValueError("to profile tasks install the library that does it: pip install 'longshore-core[profile]'")
