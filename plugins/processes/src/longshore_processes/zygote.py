"""The zygote: one small, single-threaded process that forks workers on request, reaps them, and outlives nobody.

It runs `main` in a fresh interpreter with everything a worker needs already imported, so a worker costs a fork of a
small process; where workers are to be interpreters of their own, the fork becomes one. It talks with the controller
over one socket of messages (`spawner.py` is the other end):

    in:  (number, worker id, whether it is for items with limits of memory) with the worker's descriptors attached
    out: ("started", number, (pid, rung, its group for memory or None)) with a pidfd attached
         | ("refused", number, reason) | ("exited", number, (wait status, how the memory of that group stood or None))

It is a subreaper: what a dead worker leaves behind becomes its child, and is killed. When the controller's end closes
or the controller dies, it kills everything below it and exits. Linux only.
"""

from __future__ import annotations

import gc
import os
import pickle
import resource
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Any, Final, NoReturn

from longshore.chaos import point

from longshore_processes.child import Place, run
from longshore_processes.codec import load
from longshore_processes.parent import become_subreaper, die_with
from longshore_processes.pens import Pen, Pens
from longshore_processes.procfs import children, owner, page_of
from longshore_processes.rungs import Rung

_MESSAGE: Final = 4096
_END_ALL_S: Final = 2.0
_OOM_MORE: Final = 500
_OOM_MOST: Final = 1000  # the kernel's own
WORKER_FDS: Final = 4  # socket, nudge, page, log


class Zygote:
    """Forks, reaps and kills; everything happens in `serve`."""

    def __init__(self, control: socket.socket, controller_pid: int, *, fresh: bool, pens: Pens) -> None:
        """Serve the controller at the other end of `control`, with forks or `fresh` interpreters as workers.

        Each worker is in the control groups that `pens` has for it.
        """
        self._control = control
        self._fresh = fresh
        self._pens = pens
        self._pen: dict[int, Pen] = {}  # by pid
        self._controller = os.pidfd_open(controller_pid)
        self._workers: dict[int, int] = {}  # pid -> number
        self._pages: dict[int, int] = {}  # inode of the page -> pid
        self._before_fork = point("zygote.before-fork")
        self._before_arming, self._after_arming = point("worker.before-arming"), point("worker.after-arming")
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._waker, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Work until the controller is gone, then leave nothing behind."""
        poll = select.poll()
        for fd in (self._control.fileno(), self._controller, self._wake):
            poll.register(fd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._wake in ready:
                with suppress(BlockingIOError):
                    os.read(self._wake, _MESSAGE)
                self._reap()
            if self._controller in ready or (self._control.fileno() in ready and not self._take()):
                return self._end_all()

    def _take(self) -> bool:
        """Answer one request; False when the controller closed its end."""
        try:
            message, fds, _, _ = socket.recv_fds(self._control, _MESSAGE, WORKER_FDS)
        except OSError:  # it died with something of ours unread, such as the end of a worker that saw it die before us
            return False
        if not message:
            return False
        number, worker_id, limited = load(message)
        pen = Pen()
        self._before_fork(worker_id)
        try:
            pen = self._pens.make(number, limited=limited)
            pid = os.fork()
        except OSError as error:
            pen.end()
            self._close(fds)
            self._tell(("refused", number, str(error)))
            return True
        if pid == 0:
            self._become(fds, worker_id, pen)
        self._pen[pid] = pen
        self._workers[pid] = number
        self._pages[os.fstat(fds[2]).st_ino] = pid
        self._close(fds)
        pidfd = os.pidfd_open(pid)
        self._tell(("started", number, (pid, pen.rung.value, pen.memory_path)), [pidfd])
        os.close(pidfd)
        return True

    def _become(self, fds: list[int], worker_id: str, pen: Pen) -> None:
        """Be the worker, in the forked process; never returns."""
        code = 1
        try:
            os.setsid()
            self._before_arming(worker_id)
            pen.enter()
            lives = self._settle_in(fds)
            self._after_arming(worker_id)
            if lives:
                place = Place(worker_id, fds[0], fds[1], fds[2])
                code = run(place) if not self._fresh else _start_afresh(place)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:  # noqa: BLE001 - the last frame of this process: tell the log and go
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)

    def _settle_in(self, fds: list[int]) -> bool:
        """Take what is the worker's and leave what is the zygote's; False if that has ended meanwhile."""
        parent_lives = die_with(int(os.environ["LONGSHORE_ZYGOTE"]))
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fd in (self._wake, self._waker, self._controller):
            os.close(fd)
        self._control.close()
        for fd in fds:
            os.set_inheritable(fd, False)  # to programs that tasks start
        log = fds[3]
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        with suppress(OSError, ValueError), open("/proc/self/oom_score_adj", "r+") as file:
            score = min(_OOM_MOST, int(file.read()) + _OOM_MORE)
            file.seek(0)
            file.write(str(score))  # if the kernel must kill, a worker and not the controller
        gc.enable()
        return parent_lives

    def _tell(self, message: tuple[str, int, Any], fds: list[int] | None = None) -> None:  # Any: see the module
        with suppress(OSError):  # the controller is gone: `serve` sees that next
            socket.send_fds(self._control, [pickle.dumps(message)], fds or [])

    @staticmethod
    def _close(fds: list[int]) -> None:
        for fd in fds:
            os.close(fd)

    def _reap(self) -> None:
        """Reap what ended; a worker's group and strays are killed while its pid cannot be anybody else's."""
        while True:
            try:
                info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if info is None:
                return
            number = self._workers.pop(info.si_pid, None)
            if number is not None:
                with suppress(OSError):
                    os.killpg(info.si_pid, signal.SIGKILL)
            pen = self._pen.pop(info.si_pid, Pen())
            facts = pen.facts()
            pen.end()
            self._kill_strays(info.si_pid)
            self._pages = {page: pid for page, pid in self._pages.items() if pid != info.si_pid}
            _, status = os.waitpid(info.si_pid, 0)
            if number is not None:
                self._tell(("exited", number, (status, facts)))
            self._pens.tidy()

    def _kill_strays(self, dead: int) -> None:
        """Kill what came to us from below a worker that is no more.

        It is known by its session, by its environment if it was started as a program, by the page if it is a mere fork.
        What is known by none of these may be of a worker that lives, and stays.
        """
        live = {f"process-{number}" for number in self._workers.values()}
        for pid in children():
            if pid in self._workers or pid == dead:
                continue
            with suppress(OSError):
                if os.getsid(pid) == dead or owner(pid) not in (None, *live) or self._is_fork_of_dead(pid, dead):
                    os.kill(pid, signal.SIGKILL)

    def _is_fork_of_dead(self, pid: int, dead: int) -> bool:
        page = page_of(pid)
        return page is not None and self._pages.get(page, dead) == dead

    def _end_all(self) -> None:
        for pen in self._pen.values():
            pen.kill()
        self._kill_all()
        for pen in self._pen.values():
            pen.end()
        self._pens.close()

    def _kill_all(self) -> None:
        until = time.monotonic() + _END_ALL_S
        while time.monotonic() < until and (pids := children()):
            for pid in pids:
                with suppress(OSError):
                    if pid in self._workers:
                        os.killpg(pid, signal.SIGKILL)
                    os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            time.sleep(0.001)  # what a killed child leaves behind becomes ours in a moment: look again


def _start_afresh(place: Place) -> NoReturn:
    """Become an interpreter that is the worker; what holds for this process (its parent, its session) stays."""
    from longshore_processes.launch import command  # it imports what forks do not need

    for fd in place[1:]:
        os.set_inheritable(fd, True)
    argv = command(sys.executable, "child", *place, int(os.environ["LONGSHORE_ZYGOTE"]))
    os.execv(argv[0], argv)  # noqa: S606 - ourselves, without a shell


def main(control: int, controller_pid: int, fresh: bool, grouped: bool, rung: str) -> None:
    """Be the zygote over the inherited socket `control`, for the controller with this pid.

    Each worker is in a control group of its own if `grouped`, and held to limits of memory by the rung of this name.
    """
    os.environ["LONGSHORE_ZYGOTE"] = str(os.getpid())
    become_subreaper()
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if os.getppid() != controller_pid:
        return
    pens = Pens.asked(grouped, Rung(rung), controller_pid)
    try:
        zygote = Zygote(socket.socket(fileno=control), controller_pid, fresh=fresh, pens=pens)
    except ProcessLookupError:  # the controller ended just now
        return
    gc.disable()
    gc.collect()
    gc.freeze()
    zygote.serve()
