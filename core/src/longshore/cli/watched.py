"""A run that somebody watches: from its journal, or from the page that it serves; the same answers from either.

Every method waits for disk or network, and belongs on a thread of its own; one call at a time.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.cookiejar import CookieJar
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

import msgspec
from msgspec import Struct

from longshore.cli.console import UsageError
from longshore.hookspecs import Archive
from longshore.records import RunSnapshot
from longshore.runs import (
    FailureView,
    RecordedRun,
    RunStore,
    StageView,
    TaskDetail,
    TaskFilter,
    TaskPage,
    TaskRow,
    Throughput,
    WorkerView,
)

PAGE = 200
"""Tasks of a page: the first ones by what they are sorted by."""
_RUNNING = 20
_STEPS = 60
_TIMEOUT_S = 10.0
_ANSWER_BYTES = 32 << 20
_T = TypeVar("_T")


class Picture(Struct, frozen=True, kw_only=True):
    """A run as it is now."""

    snapshot: RunSnapshot
    state: str
    stages: Sequence[StageView] = ()
    running: Sequence[TaskRow] = ()
    failures: Sequence[FailureView] = ()
    workers: Sequence[WorkerView] = ()
    throughput: Throughput | None = None
    live: bool = False
    """Whether it will change."""
    control: bool = False
    """Whether orders are taken."""


class Watched(Protocol):
    """Where answers come from; ConnectionError and JournalError say that there are none."""

    def picture(self) -> Picture:
        """Return the run as it is now."""

    def tasks(self, wanted: TaskFilter, sort: str, descending: bool) -> TaskPage:
        """Return the first page of tasks."""

    def task(self, task_id: str) -> TaskDetail | None:
        """Return all that is known of one task."""

    def order(self, name: str, body: Mapping[str, Any]) -> None:  # Any: JSON-safe values
        """Give the run an order: pause, unpause, cancel (task_id) or resize (executor, workers)."""

    def close(self) -> None:
        """Let go of what is open."""


class JournalRun:
    """A run by what its journal has of it."""

    def __init__(self, archive: Archive, run_id: str) -> None:
        """Watch this run; JournalError if it is not there."""
        self._recorded = RecordedRun(archive, run_id)
        self._archive = archive
        self._store = RunStore()

    def picture(self) -> Picture:
        """Read what was recorded since the last time, and return the run as it is now."""
        recorded, store = self._recorded, self._store
        recorded.refresh()
        for batch in recorded.events():
            store.take(batch)
        return Picture(
            snapshot=recorded.snapshot(),
            state=recorded.state,
            stages=store.stages(),
            running=store.slowest(_RUNNING, running=True) if recorded.record.held else (),
            failures=store.failures(),
            workers=store.workers(),
            throughput=store.throughput(steps=_STEPS) if store.span() is not None else None,
            live=recorded.record.held,
        )

    def tasks(self, wanted: TaskFilter, sort: str, descending: bool) -> TaskPage:
        """Return the first page of tasks."""
        return self._store.tasks(wanted, sort=sort, descending=descending, limit=PAGE)

    def task(self, task_id: str) -> TaskDetail | None:
        """Return all that is known of one task."""
        return self._store.task(task_id)

    def order(self, name: str, _body: Mapping[str, Any]) -> None:  # Any: JSON-safe values
        """Refuse: a journal takes no orders."""
        raise ConnectionError(f"{name}: a run is steered by the link of its dashboard, not by its journal")

    def close(self) -> None:
        """Remove the store."""
        self._store.close()
        self._archive.close()


class _Run(Struct, frozen=True):
    live: bool = True
    control: bool = False


class _Now(Struct, frozen=True, kw_only=True):
    run: _Run
    snapshot: RunSnapshot
    state: str = "running"


class _Overview(Struct, frozen=True, kw_only=True):
    stages: Sequence[StageView] = ()
    running: Sequence[TaskRow] = ()
    throughput: Throughput | None = None


class WebRun:
    """A run by the page it serves: the link that was printed lets in, once."""

    def __init__(self, link: str) -> None:
        """Open the link; UsageError for what is none, ConnectionError where nobody answers or lets in."""
        if urlsplit(link).scheme not in ("http", "https") or not urlsplit(link).hostname:
            raise UsageError(f"{link} is no address of a run's page: it begins with http:// or https://")
        # No proxy: the page is on this machine, or where somebody has said.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(CookieJar())
        )
        with self._open(link) as answer:
            self._base = answer.geturl().partition("?")[0]

    def picture(self) -> Picture:
        """Ask for the run as it is now."""
        now, overview = self._get("api/run", _Now), self._get("api/overview", _Overview)
        return Picture(
            snapshot=now.snapshot,
            state=now.state,
            stages=overview.stages,
            running=overview.running,
            failures=self._get("api/failures", list[FailureView]),
            workers=self._get("api/workers", list[WorkerView]),
            throughput=overview.throughput,
            live=now.run.live,
            control=now.run.control,
        )

    def tasks(self, wanted: TaskFilter, sort: str, descending: bool) -> TaskPage:
        """Return the first page of tasks."""
        fields = {
            "state": ",".join(wanted.states or ()),
            "name": wanted.name,
            "worker": wanted.worker,
            "fingerprint": wanted.fingerprint,
            "q": wanted.text,
            "sort": sort,
            "desc": "1" if descending else None,
            "limit": str(PAGE),
        }
        asked = urlencode({name: value for name, value in fields.items() if value})
        return self._get(f"api/tasks?{asked}", TaskPage)

    def task(self, task_id: str) -> TaskDetail | None:
        """Return all that is known of one task."""
        try:
            return self._get(f"api/tasks/{quote(task_id, safe='')}", TaskDetail)
        except FileNotFoundError:
            return None

    def order(self, name: str, body: Mapping[str, Any]) -> None:  # Any: JSON-safe values
        """Give the run an order; ConnectionError says why it was not taken."""
        headers = {"content-type": "application/json", "x-longshore": "1"}
        link = urljoin(self._base, f"api/control/{name}")
        request = urllib.request.Request(link, msgspec.json.encode(body), headers, method="POST")  # noqa: S310 - checked above
        try:
            with self._open(request):
                pass
        except FileNotFoundError as error:  # the page knows no such task
            raise ConnectionError(str(error)) from error

    def close(self) -> None:
        """Do nothing: no connection is kept."""

    def _get(self, path: str, kind: type[_T]) -> _T:
        with self._open(urljoin(self._base, path)) as answer:
            text = answer.read(_ANSWER_BYTES)
        try:
            return msgspec.json.decode(text, type=kind, strict=False)  # times come as seconds since 1970
        except msgspec.MsgspecError as error:
            raise ConnectionError(f"{path} of this page is not what this version understands: {error}") from error

    def _open(self, link: str | urllib.request.Request) -> Any:  # Any: urllib's answer, a context manager
        try:
            return self._opener.open(link, timeout=_TIMEOUT_S)
        except urllib.error.HTTPError as error:
            with error:
                said = _reason(error.read(4096)) or error.reason
            if error.code == 404:
                raise FileNotFoundError(said) from error
            raise ConnectionError(f"the page answers {error.code}: {said}") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise ConnectionError(f"the page does not answer: {reason}; has the run ended?") from error


def _reason(body: bytes) -> str:
    """Return what an answer says went wrong; empty where it says nothing that is understood."""
    try:
        told = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        return ""
    return str(told.get("error", ""))
