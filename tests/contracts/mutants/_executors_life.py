"""Executors that break one promise each, of those from start to stop."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from longshore.hookspecs import ExecutorHost, LimitRequest, ResizeRequest, hookimpl
from longshore.task import Outcome
from longshore_threads import ThreadsExecutor
from mutants._meddling import Meddling


class OneLess(Meddling):
    """has one worker less than it tells of"""

    @hookimpl
    async def start(self, host: ExecutorHost) -> None:
        await super().start(host)
        super().resize(ResizeRequest(host.workers - 1))

    def counted(self, workers: int) -> int:
        return self.host.workers


class OneMore(OneLess):
    """has one worker more than it tells of"""

    @hookimpl
    async def start(self, host: ExecutorHost) -> None:
        await Meddling.start(self, host)
        self.resize(ResizeRequest(host.workers + 1))


class Careless(ThreadsExecutor):
    """loses what waits when it is resized"""

    @hookimpl
    def resize(self, request: ResizeRequest) -> None:
        self._backlog.clear()
        super().resize(request)


class Boastful(Meddling):
    """tells of more workers when it is to have more, and has not"""

    @hookimpl
    def resize(self, request: ResizeRequest) -> None:
        if request.workers < len(self._seats):
            super().resize(request)
        else:
            self.host.resized(request.workers)


class Clinging(Meddling):
    """tells of fewer workers when it is to have fewer, and has as many"""

    @hookimpl
    def resize(self, request: ResizeRequest) -> None:
        if request.workers > len(self._seats):
            super().resize(request)
        else:
            self.host.resized(request.workers)


class Unlimited(ThreadsExecutor):
    """has a `limit` that does nothing"""

    @hookimpl
    def limit(self, request: LimitRequest) -> None:
        return


class Mute(Meddling):
    """reports nothing of what it holds when it is stopped"""

    def reported(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        return () if self._stopping else outcomes


class Strict(ThreadsExecutor):
    """can't be stopped when it was not started"""

    @hookimpl
    async def stop(self, deadline: float) -> None:
        if not self._made:
            raise RuntimeError("it was not started")
        await super().stop(deadline)


class Lingering(ThreadsExecutor):
    """leaves a thread behind when it is stopped"""

    @hookimpl
    async def stop(self, deadline: float) -> None:
        await super().stop(deadline)
        threading.Thread(target=threading.Event().wait, args=(3.0,), daemon=True).start()
