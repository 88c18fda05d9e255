"""The listener: a socket, a thread with a loop of its own, and connections that can't be held open by doing nothing.

In: an ASGI app. Out: its answers. uvicorn's protocol speaks HTTP; what it leaves open is closed here: the time a
request and an answer may take, how many connections there are, and what is said to those who send no HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from longshore_dashboard._sockets import Address

HEADER_BYTES = 16 * 1024
READ_S = 10.0
"""What a whole request may take to come, and an answer to be taken."""
IDLE_S = 5
"""How long a connection is kept for another request."""
STOP_S = 1.0
"""What answers that are under way get when the listener stops."""
_BUSY = b"Too many connections: try again later.\n"
_LATE = b"The request did not come in time.\n"
_SILENT = logging.Logger("uvicorn.silent", logging.CRITICAL + 1)
"""In place of uvicorn's own, which would tell of each bad request without end; no settings of logging reach it."""


class Limits:
    """How many connections there may be, and whom to tell of one that is turned away."""

    def __init__(self, connections: int, refused: Callable[[int, str], None]) -> None:
        """Keep both; `refused` is called with a status and a reason, on the listener's loop."""
        self.connections = connections
        self.refused = refused


class Protocol(H11Protocol):
    """One connection: uvicorn's, with an end to everything."""

    limits: Limits

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: uvicorn's own
        """Take what uvicorn's protocol takes."""
        super().__init__(*args, **kwargs)
        self.logger = self.access_logger = _SILENT
        self.access_log = False
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._turned_away = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take the connection, unless there are too many."""
        if len(self.connections) >= self.limits.connections:
            self._turned_away, self.transport = True, transport
            self.limits.refused(503, "too many connections")
            self._say(503, "Service Unavailable", _BUSY)
            return
        super().connection_made(transport)
        self._expect_request()

    def data_received(self, data: bytes) -> None:
        """Take some of a request; all of it has to have come within the time that the first of it began."""
        if self._turned_away:
            return
        if self._reading is None:
            self._expect_request()
        super().data_received(data)
        if self.conn.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED, h11.ERROR):
            self._stop_reading()

    def on_response_complete(self) -> None:
        """Wait for another request, for which uvicorn has a limit of its own."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE:
            self._stop_reading()

    def pause_writing(self) -> None:
        """Give who does not take what was sent a while to do so."""
        super().pause_writing()
        if self._writing is None:
            self._writing = self.loop.call_later(READ_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        self._stop_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of all."""
        self._stop_reading()
        self._stop_writing()
        if not self._turned_away:
            super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, if no answer has begun."""
        self._stop_reading()
        self.limits.refused(400, "what came is no valid HTTP, or its header is too long")
        if not self._answering():
            self._say(400, "Bad Request", msg.encode("ascii", "replace") + b"\n")
        else:
            self.transport.abort()

    def _expect_request(self) -> None:
        self._reading = self.loop.call_later(READ_S, self._late)

    def _late(self) -> None:
        self._reading = None
        if self.transport.is_closing():
            return
        self.limits.refused(408, "the request did not come in time")
        if not self._answering():
            self._say(408, "Request Timeout", _LATE)
        else:
            self.transport.abort()

    def _answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request, whatever uvicorn says of it
        return cycle is not None and not cycle.response_complete

    def _say(self, status: int, phrase: str, body: bytes) -> None:
        head = f"HTTP/1.1 {status} {phrase}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {len(body)}"
        self.transport.write(f"{head}\r\nconnection: close\r\n\r\n".encode() + body)
        self.transport.close()

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _stop_writing(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None


class Listener:
    """A daemon thread that answers at one address until `stop`."""

    def __init__(
        self,
        app: Any,  # Any: an ASGI app
        address: Address,
        limits: Limits,
        *,
        begin: Callable[[], None],
        end: Callable[[], Awaitable[None]],
    ) -> None:
        """Listen to nothing yet; on the thread `begin` is called before the first connection, `end` before the end."""
        self._limits = limits
        self._address = address
        self._begin = begin
        self._end = end
        self._config = uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=IDLE_S,
            h11_max_incomplete_event_size=HEADER_BYTES,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._work, name="longshore-dashboard", daemon=True)

    def start(self, within_s: float) -> None:
        """Start; TimeoutError where the thread does not come up within that time."""
        self._thread.start()
        if not self._up.wait(within_s):
            raise TimeoutError(f"the dashboard's thread did not start within {within_s:g} s")

    def stop(self, within_s: float) -> None:
        """End all connections and the thread, and wait for that so long at most; a second time does nothing."""
        loop, over = self._loop, self._over
        if loop is not None and over is not None and self._thread.is_alive():
            loop.call_soon_threadsafe(over.set)
        self._thread.join(within_s)

    def _work(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self._config.load()
        state = ServerState()
        kind = type("LimitedProtocol", (Protocol,), {"limits": self._limits})
        server = await self._loop.create_server(
            lambda: kind(config=self._config, server_state=state, app_state={}), sock=self._address.socket, backlog=64
        )
        self._begin()
        self._up.set()
        await self._over.wait()
        with suppress(NotImplementedError):
            self._loop.remove_reader(self._address.socket)
            await asyncio.sleep(0)  # what was accepted becomes a connection now: a closed server would drop it open
            await asyncio.sleep(0)
        server.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._end(), STOP_S)
        for connection in list(state.connections):
            connection.shutdown()
        if state.tasks:
            await asyncio.wait(set(state.tasks), timeout=STOP_S)
        for connection in list(state.connections):
            connection.transport.abort()
        self._address.close()
