"""A function that is profiled where it runs, as it travels to workers. Light: a worker imports it, and the profiler
only where a task is to be profiled. Where none is, nothing of this is in the way of any call.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Literal

from longshore.worker import running_task

if TYPE_CHECKING:
    from pyinstrument import Profiler

FILES_MOST: Final = 100
"""Profiles that are kept in one folder, or as many more as there are workers; then tasks run without."""
BYTES_MOST: Final = 4 * 1024 * 1024
"""Of one profile; one that is larger is not written."""
SUFFIX: Final = ".speedscope.json"
_INTERVAL_S: Final = 0.001
_SAMPLES_MOST: Final = 20_000  # above, two are made one: a long task is seen to its end, in less detail
_Mode = Literal["disabled", "enabled"]


class Profiled:
    """A function that leaves a profile of each of its calls, as a task, in a folder of this machine."""

    __slots__ = ("folder", "function")

    def __init__(self, folder: str, function: Callable[..., Any]) -> None:  # Any: the user's function
        """Call `function`; write to `folder`."""
        self.folder = folder
        self.function = function

    def __reduce__(self) -> tuple[Any, ...]:  # Any: as pickle has it
        """Travel by the function."""
        return type(self), (self.folder, self.function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # Any: the user's own
        """Call the function."""
        with _profile(self.folder, "disabled"):
            return self.function(*args, **kwargs)


class ProfiledCoroutine(Profiled):
    """The same of a function that gives a coroutine: what other tasks do while it waits is not in its profile."""

    __slots__ = ()

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:  # Any: the user's own
        """Call the function, and await what it gives."""
        with _profile(self.folder, "enabled"):
            return await self.function(*args, **kwargs)


@contextmanager
def _profile(folder: str, mode: _Mode) -> Iterator[None]:
    """Profile what is done inside; whatever goes wrong with that, it is done."""
    profiler, task = None, running_task()
    with suppress(Exception):  # no such library in this worker; a profiler that runs here already
        if task is not None and len(os.listdir(folder)) < FILES_MOST:
            profiler = _bounded()(_INTERVAL_S, mode)
            profiler.start(target_description=f"task {task.task_id}, attempt {task.attempt}")
    try:
        yield
    finally:
        if profiler is not None and profiler.is_running:
            with suppress(Exception):
                _write(profiler, folder)


def _write(profiler: Profiler, folder: str) -> None:
    from pyinstrument.renderers import SpeedscopeRenderer

    profiler.stop()
    data = profiler.output(SpeedscopeRenderer()).encode()
    task = running_task()
    if task is None or len(data) > BYTES_MOST:
        return
    name = re.sub(r"[^A-Za-z0-9_-]", "_", f"{task.task_id}-{task.attempt}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    with os.fdopen(os.open(os.path.join(folder, name + SUFFIX), flags, 0o600), "wb") as file:
        file.write(data)


def _bounded() -> type[Profiler]:
    """Return a profiler that keeps a bounded number of samples, however long it runs."""
    from pyinstrument import Profiler

    class Bounded(Profiler):
        """Takes each sample for its whole time; where there are too many, every second one for the time of two."""

        stride, skipped, skipped_s = 1, 0, 0.0

        def _sampler_saw_call_stack(self, call_stack: list[str], time_since_last_sample: float, state: Any) -> None:
            # Any: what the library knows of the coroutine
            self.skipped, self.skipped_s = self.skipped + 1, self.skipped_s + time_since_last_sample
            session = self._active_session
            if self.skipped < self.stride or session is None:
                return
            super()._sampler_saw_call_stack(call_stack, self.skipped_s, state)
            self.skipped, self.skipped_s = 0, 0.0
            records = session.frame_records
            if len(records) >= _SAMPLES_MOST:
                pairs = zip(records[::2], records[1::2], strict=True)
                records[:] = [(stack, before_s + own_s) for (_, before_s), (stack, own_s) in pairs]
                self.stride *= 2

    return Bounded
