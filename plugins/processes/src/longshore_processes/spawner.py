"""How the supervisor gets worker processes: through the zygote on Linux, by itself elsewhere.

Used on the supervisor's thread only. Both spawners take a number, a name and the worker's descriptors, return at once,
and tell later what came of it.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any, Final, Literal, NamedTuple, Protocol

from longshore_processes.cgroups import Facts
from longshore_processes.codec import load
from longshore_processes.launch import command, folder
from longshore_processes.rungs import Rung, groups_for

_MESSAGE: Final = 4096
_CLEAR_S: Final = 0.5  # for what a killed zygote has left to end
_THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
)
StartMethod = Literal["auto", "zygote", "interpreter"]


class Spawning(NamedTuple):
    """How workers are started, and the variables they find in their environment besides the controller's."""

    start_method: StartMethod
    variables: Mapping[str, str]
    python: str | None = None
    """The interpreter to start them with; None is the one that runs here."""
    grouped: bool = False
    """Whether each is in a control group of its own."""
    max_result_bytes: int | None = None
    """How large a result of theirs may be."""
    rung: Rung = Rung.POLLING
    """What is to hold their items to limits of memory, where any have one."""

    def interpreter(self) -> str:
        """Return the interpreter; RuntimeError where this program is none itself and nothing else is named."""
        if self.python is not None:
            return self.python
        if getattr(sys, "frozen", False) or not sys.executable:
            raise RuntimeError(
                "process workers need a Python interpreter, and this program is none: it was frozen into one file, or "
                "embeds Python; name one of the same version in executors.processes.python, or use executor 'threads'"
            )
        return sys.executable


class WorkerFds(NamedTuple):
    """The worker's ends; the spawner copies them, and its caller closes them."""

    sock: int
    nudge: int
    page: int
    log: int


class Started(NamedTuple):
    """A worker runs; `pidfd` is now the receiver's, None where there is no such thing."""

    number: int
    pid: int
    pidfd: int | None
    rung: Rung = Rung.POLLING
    group: str | None = None
    """Where its memory is counted and limited, if it has a group for that."""


class Refused(NamedTuple):
    """A worker could not be started."""

    number: int
    reason: str


class Exited(NamedTuple):
    """A worker ended and was reaped; `status` is as `os.waitpid` gives it."""

    number: int
    status: int
    memory: Facts | None = None
    """How the memory of its group stood then."""


class Lost(NamedTuple):
    """The spawner itself ended, and with it every worker it started."""

    reason: str


News = Started | Refused | Exited | Lost


class Spawner(Protocol):
    """Starts worker processes."""

    def fds(self) -> list[int]:
        """Return what to watch for reading: `news` is called when any is ready."""

    def start(self, number: int, worker_id: str, fds: WorkerFds, *, limited: bool) -> None:
        """Ask for a worker, for items with a limit of memory if `limited`; OSError when it can't even be asked for."""

    def news(self) -> list[News]:
        """Return what became known."""

    def close(self, timeout_s: float) -> None:
        """End every process it started and itself."""

    def forsake(self) -> None:
        """Have them end, without waiting; from any thread, while the one that uses this is held up for good."""


def numeric_threads(workers: int, cores: int, asked: int | None) -> dict[str, str]:
    """Return the variables that tell numeric libraries how many threads to use in one of so many workers.

    They share the cores, so that workers times threads is not more than there are; a variable that is set in the
    environment stays as it is, unless a number is asked for.
    """
    number = str(asked or max(1, cores // max(1, workers)))
    return {name: number for name in _THREAD_VARIABLES if asked or name not in os.environ}


class ZygoteSpawner:
    """Asks the zygote; see `zygote.py` for what it does."""

    def __init__(self, spawning: Spawning, environment: Mapping[str, str]) -> None:
        """Start the zygote, whose workers are forks or fresh interpreters; OSError if that can't be done."""
        fresh = spawning.start_method == "interpreter"
        groups = spawning.grouped, spawning.rung.value
        self._rung = spawning.rung
        self._control, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        self._log, log = os.pipe()
        os.set_blocking(self._log, False)
        self._said = b""
        try:
            self._process = subprocess.Popen(
                command(spawning.interpreter(), "zygote", far.fileno(), os.getpid(), fresh, *groups),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(far.fileno(),),
                env=environment,
                cwd=folder(),
                start_new_session=True,  # a Ctrl-C at the terminal is the controller's to handle
            )
        except OSError:
            self._control.close()
            os.close(self._log)
            raise
        finally:
            far.close()
            os.close(log)

    def fds(self) -> list[int]:
        """Return the socket and the zygote's own output."""
        return [self._control.fileno(), self._log]

    def start(self, number: int, worker_id: str, fds: WorkerFds, *, limited: bool) -> None:
        """Ask for a worker."""
        socket.send_fds(self._control, [pickle.dumps((number, worker_id, limited))], list(fds))

    def news(self) -> list[News]:
        """Return what the zygote told; `Lost` when it is no more."""
        self._listen()
        found: list[News] = []
        while True:
            try:
                message, fds, _, _ = socket.recv_fds(self._control, _MESSAGE, 1)
            except BlockingIOError:
                return found
            except OSError:
                message, fds = b"", []
            if not message:
                found.append(Lost(self._last_words()))
                return found
            kind, number, fact = load(message)
            pidfd = fds[0] if fds else None  # none: out of descriptors
            found.append(_told(kind, number, fact, pidfd))

    def close(self, timeout_s: float) -> None:
        """Close the socket, upon which the zygote ends all it started; kill it if it does not end by itself."""
        self._control.close()
        try:
            self._process.wait(max(0.0, timeout_s))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._log)
        if self._process.returncode and (groups := groups_for(self._rung)) is not None:
            groups.clear_old(_CLEAR_S)  # it could not do that itself

    def forsake(self) -> None:
        """Shut the socket down, upon which the zygote ends all it started."""
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)

    def _listen(self) -> None:
        with suppress(BlockingIOError):
            self._said = (self._said + os.read(self._log, _MESSAGE))[-_MESSAGE:]

    def _last_words(self) -> str:
        self._listen()
        lines = self._said.decode(errors="replace").strip().splitlines()
        return f"the process that starts workers ended: {lines[-1] if lines else 'it said nothing'}"


def _told(kind: str, number: int, fact: Any, pidfd: int | None) -> News:  # Any: see zygote.py
    if kind == "started":
        pid, rung, group = fact
        return Started(number, pid, pidfd, Rung(rung), group)
    if kind == "refused":
        return Refused(number, fact)
    status, memory = fact
    return Exited(number, status, None if memory is None else Facts(*memory))


class InterpreterSpawner:
    """Starts each worker as a fresh interpreter by itself, where the system has no subreaper or pidfd."""

    def __init__(self, python: str, environment: Mapping[str, str], post: Callable[[News], None]) -> None:
        """Start nothing yet; `post` is told of ends from a thread per worker."""
        self._python = python
        self._environment = dict(environment)
        self._post = post
        self._news: list[News] = []
        self._running: dict[int, tuple[subprocess.Popen[bytes], threading.Thread]] = {}

    def fds(self) -> list[int]:
        """Return nothing: ends are posted."""
        return []

    def start(self, number: int, worker_id: str, fds: WorkerFds, *, limited: bool) -> None:
        """Start a worker."""
        process = subprocess.Popen(
            command(self._python, "child", worker_id, fds.sock, fds.nudge, fds.page, os.getpid()),
            stdin=subprocess.DEVNULL,
            stdout=fds.log,
            stderr=fds.log,
            pass_fds=fds[:3],
            env=self._environment,
            cwd=folder(),
            start_new_session=True,
        )
        thread = threading.Thread(target=self._wait, args=(number, process), name=f"longshore-{worker_id}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads
            process.kill()
            process.wait()
            raise OSError(str(error)) from error
        self._running = {n: running for n, running in self._running.items() if running[1].is_alive()}
        self._running[number] = process, thread
        self._news.append(Started(number, process.pid, None))

    def news(self) -> list[News]:
        """Return the starts since the last call."""
        found, self._news = self._news, []
        return found

    def close(self, timeout_s: float) -> None:
        """Kill what still runs and join its threads."""
        for process, thread in self._running.values():
            if thread.is_alive():
                with suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)
        until = monotonic() + max(0.1, timeout_s)
        for _, thread in self._running.values():
            thread.join(max(0.0, until - monotonic()))

    def forsake(self) -> None:
        """Kill what still runs."""
        for process, _ in list(self._running.values()):
            if process.returncode is None:
                with suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)

    def _wait(self, number: int, process: subprocess.Popen[bytes]) -> None:
        if hasattr(os, "waitid"):  # so that its number is nobody else's yet when its group is killed
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        else:
            code = process.wait()
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
        self._post(Exited(number, -code if code < 0 else code << 8))


def has_zygote() -> bool:
    """Tell whether this system has what the zygote needs."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open")


def make_spawner(spawning: Spawning, post: Callable[[News], None]) -> Spawner:
    """Return the spawner this system can have."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("LONGSHORE_WORKER")}
    environment = {**ours, **spawning.variables}
    if spawning.start_method == "zygote" or has_zygote():
        return ZygoteSpawner(spawning, environment)
    return InterpreterSpawner(spawning.interpreter(), environment, post)
