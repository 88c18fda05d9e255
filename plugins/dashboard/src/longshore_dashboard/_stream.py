"""The path that is followed: server-sent events from the feed, for as long as the page is there."""

from __future__ import annotations

import asyncio
import re

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from longshore_dashboard._answers import Unanswerable, failed
from longshore_dashboard._feed import Feed, Follower

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_RETRY = b"retry: 3000\n\n"


class Stream:
    """The ASGI app of `/api/events`."""

    def __init__(self, feed: Feed) -> None:
        """Let pages follow this."""
        self._feed = feed

    def routes(self) -> list[Route]:
        """Return the path."""
        return [Route("/api/events", self, methods=["GET"])]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the page leaves, or the run's pages end."""
        request = Request(scope, receive)
        follower = None if request.method == "HEAD" else self._feed.join()
        if follower is None and request.method != "HEAD":
            answer = failed(request, Unanswerable(503, "too many pages follow this run: ask `api/run` now and then"))
            answer.headers["retry-after"] = "10"
            await answer(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        if follower is not None:
            await self._follow(follower, _last(request), receive, send)
        await send({"type": "http.response.body", "body": b""})

    async def _follow(self, follower: Follower, last: int | None, receive: Receive, send: Send) -> None:
        async def pass_on(frame: bytes) -> None:
            await send({"type": "http.response.body", "body": frame, "more_body": True})

        watching = asyncio.get_running_loop().create_task(_watch(receive, follower))
        try:
            await pass_on(_RETRY)
            await self._feed.follow(follower, pass_on, last)
        finally:
            watching.cancel()
            self._feed.leave(follower)


async def _watch(receive: Receive, follower: Follower) -> None:
    """Wake the follower when the page has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    follower.leave()


def _last(request: Request) -> int | None:
    """Return the number of the last frame that the page had before it came back."""
    given = request.headers.get("last-event-id", "")
    return int(given) if re.fullmatch(r"[0-9]{1,15}", given) else None
