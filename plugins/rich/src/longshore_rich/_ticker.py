"""A thread that does one thing again and again until it is told to stop; each view owns one."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Ticker:
    """Calls `act` each `period_s` seconds on a thread of its own; an exception ends it and is kept in `error`."""

    def __init__(self, act: Callable[[], None], *, period_s: float, name: str) -> None:
        """Prepare; nothing runs yet. `period_s` may be changed while it runs."""
        self._act = act
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.period_s = period_s
        self.error: Exception | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, patience_s: float = 2.0) -> None:
        """Stop and wait for the thread; raises TimeoutError when the output takes nothing for `patience_s`."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(patience_s)
            if self._thread.is_alive():
                raise TimeoutError(f"the terminal has taken no output for {patience_s:.0f} s")

    def _run(self) -> None:
        while not self._stopping.wait(self.period_s):
            try:
                self._act()
            except Exception as error:  # noqa: BLE001 - nobody is above this thread; the sink raises it to its host
                self.error = error
                return
