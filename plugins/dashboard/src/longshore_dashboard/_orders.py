"""The paths that change something: named orders to the run, where settings and the pool allow them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial

import msgspec
from longshore.errors import PluginError, PoolNotRunning
from longshore.records import RunControl
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from longshore_dashboard._answers import Unanswerable, failed, json_answer
from longshore_dashboard._rules import CONTROL
from longshore_dashboard._shown import Shown

_log = logging.getLogger("longshore.dashboard")


class _Order(Struct, frozen=True, forbid_unknown_fields=True):
    """An order that needs no more than its name."""


class _Cancel(Struct, frozen=True, forbid_unknown_fields=True):
    task_id: str


class _Resize(Struct, frozen=True, forbid_unknown_fields=True):
    executor: str
    workers: int


class Orders:
    """Cancel, pause, unpause, resize; there is none that takes code, a path or the name of a function."""

    def __init__(self, shown: Shown, control: RunControl, threads: Executor) -> None:
        """Give orders to `control`."""
        self._shown = shown
        self._control = control
        self._threads = threads
        self._known: dict[str, Callable[[bytes], None]] = {
            "cancel": self._cancel,
            "pause": partial(self._plainly, control.pause),
            "unpause": partial(self._plainly, control.unpause),
            "resize": self._resize,
        }

    def routes(self) -> list[Route]:
        """Return the paths, one for each order."""
        return [Route(f"{CONTROL}{name}", self._endpoint(name), methods=["POST"]) for name in self._known]

    def _endpoint(self, name: str) -> Callable[[Request], object]:
        async def endpoint(request: Request) -> Response:
            body = await request.body()
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._obey, request, name, body)

        return endpoint

    def _obey(self, request: Request, name: str, body: bytes) -> Response:
        try:
            if self._shown.summary is not None:
                raise Unanswerable(409, "the run is over")
            self._known[name](body)
        except Unanswerable as error:
            return failed(request, error)
        except PoolNotRunning as error:
            return failed(request, Unanswerable(409, str(error)))
        except (msgspec.ValidationError, msgspec.DecodeError, ValueError, PluginError) as error:
            return failed(request, Unanswerable(400, f"this order cannot be given: {error}"))
        _log.info("the page ordered: %s %s", name, ascii(body[:200].decode("utf-8", "replace")))
        return json_answer(request, {"done": True})

    def _cancel(self, body: bytes) -> None:
        task_id = msgspec.json.decode(body, type=_Cancel).task_id
        if self._shown.store.task(task_id) is None:
            raise Unanswerable(404, "there is no such task")
        self._control.cancel(task_id)

    def _resize(self, body: bytes) -> None:
        order = msgspec.json.decode(body, type=_Resize)
        self._control.resize(order.executor, order.workers)

    @staticmethod
    def _plainly(order: Callable[[], None], body: bytes) -> None:
        msgspec.json.decode(body or b"{}", type=_Order)
        order()
