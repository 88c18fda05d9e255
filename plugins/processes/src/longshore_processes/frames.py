"""What travels between the controller and one worker: frames over a socket pair, and some words in a shared page.

Both sides use it. A frame is a header (kind, number, length) and opaque bytes, so nothing has to be understood to know
where the next one begins, and a payload that can't be unpickled costs its own task only.
"""

from __future__ import annotations

import mmap
import socket
import struct
from collections.abc import Iterator
from typing import Final

HEADER: Final = struct.Struct("<QQQ")  # kind, number, length
_CHUNK: Final = 1 << 18  # read at once; the kernel's socket buffer is rarely larger
_SMALL: Final = 1 << 14  # to copy so much costs less than a second piece

# controller to worker
CODE: Final = 1  # number: the code's; payload: pickled (function, initializer, scope)
FORGET: Final = 2  # number: the code's
BATCH: Final = (
    3  # number: serial of the first item; payload: in which bay, where there, and the batch if it isn't there
)
LIMIT: Final = 5  # number: the code's; payload: by how many MB one of its items may grow, as text
LEVELS: Final = 4  # number: what logging.disable was told; payload: pickled dict of logging levels by logger
# worker to controller
HELLO: Final = 10  # the worker is ready
FINISHED: Final = 11  # number: up to which serial, not including it, results are in their bays
SKIPPED: Final = 12  # number: serial of the first item of its batch that was withdrawn in time
PROGRESS: Final = 13  # payload: pickled ProgressUpdate
LOG: Final = 14  # payload: pickled dict of a log record
APART: Final = 15  # number: serial of the item; payload: of its result, what found no room in its bay

PLACE: Final = struct.Struct("<QQQ")  # of a batch: which bay, from which byte on, how many; none: it follows here

Payload = bytes | bytearray
Frame = tuple[int, int, Payload]

MEMORY_NAME: Final = "longshore-worker"
"""What the system calls the memory that a worker shares with its controller, in what it tells of processes."""
IDLE: Final = -1
UNLIMITED: Final = 2**63 - 1
_PAGE: Final = 4096
RUNNING, STARTED, _PREPARING, _BASE, FINISHED_TO, _KILLS = 0, 1, 2, 3, 4, 5  # written by the worker
_INITIALIZING: Final = 2  # what is there while an initializer runs
SKIP_FROM, SKIP_TO, _RESULT_MOST = 16, 17, 18  # written by the controller, on another cache line


class Words:
    """The shared page of one worker: what it runs, since when, from how much memory, and which serials it is to skip.

    Also up to which serial results are in the bays, and how large a result may be. Each word is written by one side
    only, in one aligned store. The start is written before the serial, so who reads the serial first never takes an old
    start for a new item's; and a result before the word that says that it is there.
    """

    __slots__ = ("_page", "floats", "ints")

    def __init__(self, memory: mmap.mmap) -> None:
        """Use the page at the beginning of `memory`."""
        self._page = memoryview(memory)[:_PAGE]
        self.ints = self._page.cast("q")
        self.floats = self._page.cast("d")

    def clear(self) -> None:
        """Say that nothing runs or has, and that nothing is to be skipped."""
        self.ints[RUNNING] = IDLE
        self.ints[FINISHED_TO] = self.ints[_KILLS] = 0
        self.ints[SKIP_FROM] = self.ints[SKIP_TO] = 0

    def prepare(self, serial: int, now: float) -> None:
        """Say that the worker gets ready for the kind of `serial`: that takes time, which is not the item's."""
        self.ints[_PREPARING] = 1
        self.floats[STARTED] = now
        self.ints[RUNNING] = serial

    def initialize(self) -> None:
        """Say that it is by an initializer, from here on, that the worker gets ready."""
        self.ints[_PREPARING] = _INITIALIZING

    def prepared(self, now: float) -> None:
        """Say that the worker is ready. The start comes first: who sees the worker ready sees the new start."""
        self.floats[STARTED] = now
        self.ints[_PREPARING] = 0

    def preparing(self) -> bool:
        """Tell whether the worker gets ready; to be read before the start."""
        return self.ints[_PREPARING] != 0

    def initializing(self) -> bool:
        """Tell whether the worker gets ready by an initializer."""
        return self.ints[_PREPARING] == _INITIALIZING

    @property
    def base_mb(self) -> float:
        """How much memory the worker had of its own before what it runs now."""
        return self.floats[_BASE]

    @base_mb.setter
    def base_mb(self, own_mb: float) -> None:
        self.floats[_BASE] = own_mb

    @property
    def kills(self) -> int:
        """How many processes of its group the kernel had killed for want of memory before what the worker runs now."""
        return self.ints[_KILLS]

    @kills.setter
    def kills(self, count: int) -> None:
        self.ints[_KILLS] = count

    @property
    def result_most(self) -> int:
        """How many bytes the pickle of a result may have."""
        return self.ints[_RESULT_MOST]

    @result_most.setter
    def result_most(self, most: int) -> None:
        self.ints[_RESULT_MOST] = most

    def rest(self) -> None:
        """Say that nothing runs."""
        self.ints[RUNNING] = IDLE

    def running(self) -> tuple[int, float]:
        """Return the serial that runs, or IDLE, and since when."""
        serial = self.ints[RUNNING]
        return serial if serial >= self.ints[FINISHED_TO] else IDLE, self.floats[STARTED]

    def finished(self) -> int:
        """Return up to which serial, not including it, items are finished, with their results in the bays."""
        return self.ints[FINISHED_TO]

    def begun(self) -> int:
        """Return the last serial that was begun, -1 before the first."""
        return max(self.ints[RUNNING], self.ints[FINISHED_TO] - 1)

    def skip(self, start: int, stop: int) -> None:
        """Ask the worker not to begin serials from `start` up to, not including, `stop`."""
        self.ints[SKIP_TO] = stop
        self.ints[SKIP_FROM] = start

    def close(self) -> None:
        """Let go of the page."""
        self.ints.release()
        self.floats.release()
        self._page.release()


class FrameReader:
    """Takes frames off a socket, blocking or not."""

    __slots__ = ("_buffer", "_have", "_head", "_large", "_sock", "closed", "dry")

    def __init__(self, sock: socket.socket) -> None:
        """Read from `sock`."""
        self._sock = sock
        self._buffer = bytearray()
        self._head = (0, 0)
        self._large: bytearray | None = None  # a payload beyond one read is received where it will stay
        self._have = 0
        self.closed = False
        self.dry = False
        """Whether the last read found nothing more to take."""

    def read(self) -> list[Frame]:
        """Return the frames that one receive completed; empty when there was nothing, or at the end (`closed`)."""
        self.dry = False
        try:
            if self._large is not None:
                return self._read_large(self._large)
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            self.dry = True
            return []
        except OSError:  # reset: the other side died with something unread
            data = b""
        if not data:
            self.closed = self.dry = True
            return []
        if not self._buffer and len(data) == HEADER.size:  # the usual news of a lone result
            kind, number, length = HEADER.unpack(data)
            if not length:
                return [(kind, number, b"")]
        self._buffer += data
        return list(self._parse())

    def _parse(self) -> Iterator[Frame]:
        buffer, at = self._buffer, 0
        while len(buffer) - at >= HEADER.size:
            kind, number, length = HEADER.unpack_from(buffer, at)
            end = at + HEADER.size + length
            if end > len(buffer):
                if length > _CHUNK:
                    self._begin_large(kind, number, length, at + HEADER.size)
                    return
                break
            yield kind, number, bytes(buffer[at + HEADER.size : end])
            at = end
        del buffer[:at]

    def _begin_large(self, kind: int, number: int, length: int, at: int) -> None:
        self._head = kind, number
        self._have = len(self._buffer) - at
        self._large = bytearray(length)
        self._large[: self._have] = self._buffer[at:]
        self._buffer.clear()

    def _read_large(self, large: bytearray) -> list[Frame]:
        with memoryview(large) as view:
            got = self._sock.recv_into(view[self._have :])
        if not got:
            self.closed = self.dry = True
            return []
        self._have += got
        if self._have < len(large):
            return []
        self._large = None
        return [(*self._head, large)]


def frame(kind: int, number: int, *parts: bytes) -> list[memoryview]:
    """Return the pieces of one frame whose payload has these parts, ready to be sent one after the other."""
    size = sum(map(len, parts))
    pieces = HEADER.pack(kind, number, size), *parts
    return [memoryview(b"".join(pieces))] if size <= _SMALL else [memoryview(piece) for piece in pieces]
