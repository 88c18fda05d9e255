"""A signal that has a pool diagnosed, whatever the process is at: blocked loop, C code, an interpreter that is held.

The handler is C code that needs no turn of the main thread: it writes where that thread is into a pipe, and what comes
out of the pipe wakes a thread that gathers the rest. Where that can't run, as code holds the interpreter's lock, what
is in the pipe is there to be read by another process: in a folder it has a name.
"""

from __future__ import annotations

import faulthandler
import os
import select
import signal as signals
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

import msgspec
from msgspec import Struct

from longshore._diagnosis import Diagnosis
from longshore._diagnosis_text import diagnosis_text
from longshore.errors import LongshoreError

LISTENS: Final = "diagnosis.listens"
PIPE: Final = "diagnosis.pipe"
RECORD: Final = "diagnosis.json"
TEXT: Final = "diagnosis.txt"
_READ = 64 * 1024
_JOIN_S = 1.0


class Listens(Struct, frozen=True):
    """What is left in a folder by a process that a signal has diagnosed."""

    pid: int
    signal: int


class Diagnosable(Protocol):
    """A pool."""

    @property
    def run_folder(self) -> str | None:
        """Where its run is kept, if it is in a folder."""

    def diagnose(self) -> Diagnosis:
        """Return all that is known of it; from any thread."""


class DiagnosisSignal:
    """What `install_diagnostics` has installed, until `close`; a context manager that closes."""

    def __init__(self, pool: Diagnosable, number: int, folder: Path | None, *, quiet: bool) -> None:
        """Listen for a signal from now on."""
        self._pool = pool
        self._number = number
        self._folder = folder
        self._quiet = quiet
        self._reads, self._writes = _pipe(folder)
        self._ends, self._ender = os.pipe()
        self._thread = threading.Thread(target=self._listen, name="longshore-diagnosis", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no more threads
            self._release()
            raise
        with suppress(ValueError):  # in the main thread only; it is what `close` leaves
            signals.signal(number, signals.SIG_IGN)
        faulthandler.register(number, file=self._writes, all_threads=False, chain=False)
        if folder is not None:
            write_private(folder / LISTENS, msgspec.json.encode(Listens(os.getpid(), number)))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Listen no more; a second call does nothing.

        If it was installed in the main thread the signal is ignored from now on: whoever sends it may come late. A
        diagnosis that is being gathered is waited for no longer than a second.
        """
        if self._ender == -1:
            return
        if self._folder is not None:
            for name in (LISTENS, PIPE):
                with suppress(OSError):
                    os.unlink(self._folder / name)
        faulthandler.unregister(self._number)
        os.close(self._ender)
        self._ender = -1
        self._thread.join(_JOIN_S)

    def _listen(self) -> None:
        """Gather whenever the signal has come; several that come meanwhile are one more."""
        poll = select.poll()
        poll.register(self._reads, select.POLLIN)
        poll.register(self._ends, select.POLLIN)
        try:
            while True:
                ready = [descriptor for descriptor, _ in poll.poll()]
                if self._ends in ready:
                    return
                with suppress(BlockingIOError):
                    while os.read(self._reads, _READ):
                        pass
                with suppress(Exception):  # a diagnosis that fails changes nothing
                    self._tell()
        finally:
            self._release()

    def _release(self) -> None:
        for descriptor in (self._reads, self._writes, self._ends):
            os.close(descriptor)

    def _tell(self) -> None:
        try:
            found = self._pool.diagnose()
        except LongshoreError as error:
            _to_stderr(f"longshore: no diagnosis: {error}\n")
            return
        text = diagnosis_text(found)
        if self._folder is not None:
            with suppress(OSError):
                write_private(self._folder / TEXT, text.encode())
                write_private(self._folder / RECORD, msgspec.json.encode(found))
        if not self._quiet:
            _to_stderr(text)


def install_diagnostics(
    pool: Diagnosable, *, signal: int | None = None, folder: str | os.PathLike[str] | None = None, quiet: bool = False
) -> DiagnosisSignal:
    """Have a signal (None: SIGUSR1) write `pool.diagnose()` to stderr, also while the program hangs; `close` ends it.

    With a `folder`, the user's alone, also to the files `diagnosis.txt` and `diagnosis.json` in it, mode 0600; with
    `quiet` to these only. Left out, it is the folder that the pool's run is recorded in, if it is: there
    `longshore doctor --run` finds it. For a pool that was started, from any thread. ValueError where the program has a
    handler for the signal; RuntimeError where the system has no such signals.
    """
    if sys.platform == "win32":
        raise RuntimeError("there are no signals for that on Windows: call pool.diagnose() from another thread")
    number = int(signals.SIGUSR1 if signal is None else signal)
    if is_caught(os.getpid(), number) or signals.getsignal(number) not in (signals.SIG_DFL, signals.SIG_IGN):
        raise ValueError(f"signal {number} has a handler already: close that one, or name another signal")
    place = pool.run_folder if folder is None else folder
    return DiagnosisSignal(pool, number, None if place is None else Path(place), quiet=quiet)


def is_caught(pid: int, number: int) -> bool:
    """Tell whether a process has a handler for a signal; False where the system does not say."""
    with suppress(OSError, ValueError), open(f"/proc/{pid}/status") as status:
        caught = next((text.split()[1] for text in status if text.startswith("SigCgt:")), "0")
        return bool(int(caught, 16) >> (number - 1) & 1)
    return False


def write_private(path: Path, data: bytes) -> None:
    """Write a file that nobody else may read, whole or not at all; a link in its place is replaced, not followed."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        os.unlink(new)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    os.replace(new, path)


def _pipe(folder: Path | None) -> tuple[int, int]:
    """Return the ends of a pipe, which has a name in `folder` if it can; what is written when it is full is lost."""
    if folder is not None:
        path = folder / PIPE
        with suppress(OSError):
            with suppress(FileNotFoundError):
                os.unlink(path)
            os.mkfifo(path, 0o600)
            return _opened(lambda: os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
    reads, writes = os.pipe()
    os.set_blocking(reads, False)
    os.set_blocking(writes, False)
    return reads, writes


def _opened(open_it: Callable[[], int]) -> tuple[int, int]:
    reads = open_it()
    try:
        return reads, open_it()
    except OSError:
        os.close(reads)
        raise


def _to_stderr(text: str) -> None:
    """Write past whatever the interpreter has for stderr, whose lock may be held by what hangs."""
    data = text.encode("ascii", "backslashreplace")
    with suppress(OSError):
        while data:
            data = data[os.write(2, data) :]
