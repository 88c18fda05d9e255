"""What the pages read: each path of the API, answered on the page threads from the store, the pool and the logs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from longshore_dashboard import _asked
from longshore_dashboard._answers import Unanswerable, etag_of, failed, json_answer, tagged_answer, unchanged
from longshore_dashboard._shown import Shown
from longshore_dashboard._threads import on_thread
from longshore_dashboard._wellbeing import lines

Make = Callable[[Request], Any]  # Any: JSON-safe values


class Api:
    """The paths of one run."""

    def __init__(self, shown: Shown, threads: Executor) -> None:
        """Answer from `shown`, on `threads`."""
        self._shown = shown
        self._threads = threads

    def routes(self) -> list[Route]:
        """Return all paths that are read."""
        of_store: dict[str, Make] = {
            "/api/timeline": self._timeline,
            "/api/tasks": self._tasks,
            "/api/tasks/{task_id:path}": self._task,
        }
        of_now: dict[str, Make] = {
            "/api/run": lambda _: self._shown.document(),
            "/api/overview": lambda _: self._shown.overview(),
            "/api/failures": lambda _: self._plain(self._shown.store.failures()),
            "/api/workers": lambda _: self._shown.workers(),
            "/api/resources": self._resources,
            "/api/plugins": lambda _: self._shown.setup(),
            "/api/logs": self._logs,
        }
        return [
            *(Route(path, self._endpoint(make, kept=True), methods=["GET"]) for path, make in of_store.items()),
            *(Route(path, self._endpoint(make, kept=False), methods=["GET"]) for path, make in of_now.items()),
            Route("/livez", self._livez, methods=["GET"]),
            Route("/readyz", self._readyz, methods=["GET"]),
        ]

    def _endpoint(self, make: Make, *, kept: bool) -> Callable[[Request], Any]:  # Any: Starlette's
        async def endpoint(request: Request) -> Response:
            etag = etag_of(request, self._version()) if kept else None
            same = unchanged(request, etag) if etag is not None else None
            return await on_thread(self._threads, lambda: self._answer(request, make, etag)) if same is None else same

        return endpoint

    def _answer(self, request: Request, make: Make, etag: str | None) -> Response:
        try:
            found = make(request)
            return tagged_answer(request, found) if etag is None else json_answer(request, found, etag=etag)
        except Unanswerable as error:
            return failed(request, error)
        except ValueError as error:  # the store's word for what can't be asked of it
            return failed(request, Unanswerable(400, f"this cannot be answered: {error}"))

    def _version(self) -> str:
        shown = self._shown
        over = "" if shown.summary is None else "-over"
        return f"{shown.run.run_id[-12:].encode().hex()}-{shown.store.version}{over}"

    def _plain(self, value: object) -> Any:  # Any: JSON-safe values
        return self._shown.plain.of(value)

    def _timeline(self, request: Request) -> Any:  # Any: as above
        start, end = _asked.number(request, "from"), _asked.number(request, "to")
        return self._plain(self._shown.store.timeline(start, end, by=_asked.lanes(request)))

    def _tasks(self, request: Request) -> Any:  # Any: as above
        wanted = _asked.task_filter(request)
        self._shown.wanted(wanted.text)
        return self._shown.tasks(wanted, **_asked.task_page(request))

    def _task(self, request: Request) -> Any:  # Any: as above
        found = self._shown.store.task(request.path_params["task_id"])
        if found is None:
            raise Unanswerable(404, "there is no such task, or no row of it is kept")
        return self._plain(found)

    def _resources(self, request: Request) -> Any:  # Any: as above
        return self._shown.resources(_asked.number(request, "from"), _asked.number(request, "to"))

    def _logs(self, request: Request) -> Any:  # Any: as above
        after = _asked.whole(request, "after", 0, 2**53)
        part = self._shown.wanted(_asked.text(request, "q")) or ""
        found = self._shown.logs.lines(after, _asked.level(request), part)
        return {"lines": self._plain(found), "next": found[-1].number if found else after}

    async def _livez(self, request: Request) -> Response:
        return await on_thread(self._threads, lambda: self._health(request, live=True))

    async def _readyz(self, request: Request) -> Response:
        return await on_thread(self._threads, lambda: self._health(request, live=False))

    def _health(self, request: Request, *, live: bool) -> Response:
        """Tell a status and nothing else: of a run that is over, that the pages live and take no work."""
        over = self._shown.summary is not None
        health = self._shown.wellbeing.now()
        well = over or health.live if live else not over and health.ready
        said = ["[-]running failed: the run is over"] if over and not live else [] if over else lines(health, live=live)
        verdict = f"{'livez' if live else 'readyz'} check {'passed' if well else 'failed'}"
        told = [*said, verdict] if "verbose" in request.query_params else ["ok" if well else "failed"]
        return PlainTextResponse("\n".join(told) + "\n", 200 if well else 503, {"cache-control": "no-store"})
