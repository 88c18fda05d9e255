"""Listeners that still serve though their run is over: they keep the process so long, and give way to a next run."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Lingering:
    """Those there are, by their port; safe between threads."""

    def __init__(self) -> None:
        """Have none."""
        self._lock = threading.Lock()
        self._ends: dict[int, tuple[threading.Event, threading.Thread]] = {}

    def keep(self, port: int, stop: Callable[[], None], for_s: float) -> None:
        """Call `stop` after `for_s` seconds, or when `end` asks for it; the process stays until then."""
        ended = threading.Event()

        def wait() -> None:
            ended.wait(for_s)
            stop()
            with self._lock:
                if self._ends.get(port, (None,))[0] is ended:
                    del self._ends[port]

        thread = threading.Thread(target=wait, name="longshore-prometheus-linger")  # no daemon: the process is to stay
        with self._lock:
            self._ends[port] = ended, thread
        thread.start()

    def end(self, port: int) -> None:
        """Stop what lingers there, if anything does; it has stopped when this returns."""
        with self._lock:
            ended, thread = self._ends.get(port, (None, None))
        if ended is not None and thread is not None:
            ended.set()
            thread.join()


LINGERING = Lingering()
"""Of this process: a sink is made anew for each run, and the next one may want the port of the last."""
