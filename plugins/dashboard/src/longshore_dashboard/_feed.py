"""What pages follow: frames made once for all who follow, four a second at most, and kept in a ring for who comes back.

Nothing waits for a page: each has a place in the ring and takes what came since. One that is too far behind is given
the whole again instead of what it missed, so a slow page costs no memory beyond the ring.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, Final

import msgspec

from longshore_dashboard._threads import on_thread

KINDS: Final = ("tasks", "failures", "workers", "resources", "logs")
PERIOD_S = 0.25
FRAMES_A_SECOND = 128
"""Over all who follow: with more than 32 of them, each is told less often."""
IDLE_S = 1.0
"""How often a run that goes on is told of while nothing is heard of it: its gauges change all the same."""
HEARTBEAT_S = 15.0
RING = 64
BEHIND = 8
"""Frames that who follows may be behind; who is further behind is given the whole."""
_HEARTBEAT = b": still here\n\n"
_log = logging.getLogger("longshore.dashboard")
Json = dict[str, Any]  # Any: JSON-safe values
Send = Callable[[bytes], Awaitable[None]]


class Follower:
    """One who follows: which frame it has, and what wakes it."""

    def __init__(self) -> None:
        """Have none."""
        self.seen = 0
        self.wake = asyncio.Event()
        self.gone = False

    def leave(self) -> None:
        """Follow no more."""
        self.gone = True
        self.wake.set()


class Feed:
    """The frames of one run. `tell` may be called from any thread, all else on the listener's loop."""

    def __init__(
        self,
        *,
        whole: Callable[[], Json],
        moment: Callable[[], Json],
        over: Callable[[], bool],
        also: Callable[[], Iterable[str]],
        threads: Executor,
        most: int,
    ) -> None:
        """Make frames of what `whole` and `moment` return, on `threads`, for `most` who follow.

        `also` is asked with each frame what else has changed, that nobody told of.
        """
        self._whole, self._moment, self._over, self._also = whole, moment, over, also
        self._threads = threads
        self._most = most
        self._frames: deque[tuple[int, bytes]] = deque(maxlen=RING)
        self._number = 0
        self._followers: set[Follower] = set()
        self._changed: set[str] = set()
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pumping: asyncio.Task[None] | None = None
        self._kept: tuple[float, asyncio.Task[tuple[int, bytes]]] | None = None
        self._ended = False
        self._again = True
        self.resent = 0
        """How often one was too far behind, and given the whole again."""

    def begin(self) -> None:
        """Take this thread's loop for the one that is woken."""
        self._loop = asyncio.get_running_loop()

    @property
    def followers(self) -> int:
        """How many follow now."""
        return len(self._followers)

    def tell(self, kinds: Iterable[str]) -> None:
        """Take note that something of these kinds has changed; costs next to nothing while nobody follows."""
        if self._followers and self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._note, tuple(kinds))

    def join(self) -> Follower | None:
        """Return a place for one more who follows; None where there are too many."""
        if self._ended or len(self._followers) >= self._most:
            return None
        follower = Follower()
        self._followers.add(follower)
        if self._pumping is None or self._pumping.done():
            self._pumping = asyncio.get_running_loop().create_task(self._pump())
        return follower

    def leave(self, follower: Follower) -> None:
        """Give the place back."""
        self._followers.discard(follower)

    async def follow(self, follower: Follower, send: Send, last: int | None) -> None:
        """Send the whole, or what came since frame `last`, and all that comes, until the follower leaves."""
        if last is not None and self._since(last, RING) is not None:
            follower.seen = last
        else:
            await self._send_whole(follower, send)
        resuming = RING
        while not follower.gone:
            follower.wake.clear()
            frames = self._since(follower.seen, resuming)
            resuming = BEHIND
            if frames is None:
                self.resent += 1
                await self._send_whole(follower, send)
            elif frames:
                follower.seen = frames[-1][0]
                await send(b"".join(frame for _, frame in frames))
            elif self._ended:
                return
            else:
                await follower.wake.wait()

    async def end(self) -> None:
        """Tell who follows of the last there is, and let them go then."""
        if self._followers:
            self._publish(await self._frame(KINDS))
        self._ended = True
        if self._pumping is not None:
            self._pumping.cancel()
        for follower in self._followers:
            follower.wake.set()

    def _note(self, kinds: Iterable[str]) -> None:
        self._changed.update(kinds)
        self._news.set()

    def _since(self, number: int, most: int) -> list[tuple[int, bytes]] | None:
        """Return the frames after this one, None where they are not all here or too many."""
        behind = self._number - number
        if not 0 <= behind <= min(most, len(self._frames)):
            return None
        return list(self._frames)[len(self._frames) - behind :]

    async def _pump(self) -> None:
        """Make frames while anybody follows."""
        while self._followers:
            self._publish(await self._next())
            await asyncio.sleep(max(PERIOD_S, len(self._followers) / FRAMES_A_SECOND))

    async def _next(self) -> bytes:
        """Return the next frame, once there is something to be told."""
        over, again = self._over(), self._again
        self._again = not over  # the sums of the end may be a moment old, so all is told to be new once more
        try:
            async with asyncio.timeout(IDLE_S if again else HEARTBEAT_S):
                await self._news.wait()
        except TimeoutError:
            if not again:
                return _HEARTBEAT
            if over:
                self._changed.update(KINDS)
        self._news.clear()
        changed, self._changed = self._changed, set()
        return await self._frame(changed)

    async def _frame(self, changed: Iterable[str]) -> bytes:
        try:
            moment = await on_thread(self._threads, self._moment)
        except Exception:  # noqa: BLE001 - a moment that can't be shown must not end the feed; the log says why
            _log.exception("the dashboard could not show the run as it is now")
            return _HEARTBEAT
        return _event("delta", self._number + 1, {**moment, "changed": sorted({*changed, *self._also()})})

    def _publish(self, frame: bytes) -> None:
        self._number += 1
        self._frames.append((self._number, frame))
        for follower in self._followers:
            follower.wake.set()

    async def _send_whole(self, follower: Follower, send: Send) -> None:
        follower.seen, frame = await self._shared_whole()
        await send(frame)

    async def _shared_whole(self) -> tuple[int, bytes]:
        """Return the whole as it was less than a period ago: all who ask for it meanwhile have the same."""
        now = asyncio.get_running_loop().time()
        if self._kept is None or now - self._kept[0] >= PERIOD_S:
            self._kept = (now, asyncio.get_running_loop().create_task(self._make_whole()))
        return await asyncio.shield(self._kept[1])

    async def _make_whole(self) -> tuple[int, bytes]:
        number = self._number  # what is published from now on comes after it
        whole = await on_thread(self._threads, self._whole)
        return number, _event("snapshot", number, {**whole, "changed": list(KINDS)})


def _event(name: str, number: int, data: Json) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, name.encode(), msgspec.json.encode(data))
