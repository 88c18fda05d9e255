"""What a page may have done to a run: nothing, unless settings and the pool allow it."""

from __future__ import annotations

import json
from typing import Any

import pytest

Serve = Any  # the fixture: test modules cannot import a conftest
JSON = "application/json"


class Control:
    """A run that notes what it is told."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.orders: list[tuple[Any, ...]] = []

    def cancel(self, task_id: str) -> None:
        """Note it."""
        self.orders.append(("cancel", task_id))

    def pause(self) -> None:
        """Note it."""
        self.orders.append(("pause",))

    def unpause(self) -> None:
        """Note it."""
        self.orders.append(("unpause",))

    def resize(self, executor: str, workers: int) -> None:
        """Note it; refuse what a pool would."""
        if workers < 1:
            raise ValueError("workers must be at least 1")
        self.orders.append(("resize", executor, workers))


@pytest.fixture
def control() -> Control:
    """A run that may be steered."""
    return Control()


@pytest.mark.slow
def test_without_leave_there_are_no_orders(serve: Serve, made: Any, control: Control) -> None:
    """By default each order is a method that is not allowed, though the pool would take it; so without a pool."""
    for client in (serve(run=made.run_info(control=control)), serve(control=True)):
        assert client.get("/api/run").json()["run"]["control"] is False
        for order in ("cancel", "pause", "unpause", "resize"):
            assert client.post(f"/api/control/{order}", b"{}").status == 405
    assert control.orders == []
    assert serve(control=True).sink.controls is True
    assert serve().sink.controls is False


def test_orders_reach_the_run(serve: Serve, made: Any, control: Control) -> None:
    """With leave each does what it is called."""
    client = serve(run=made.run_info(control=control), control=True, events=made.events_of(1))
    assert client.get("/api/run").json()["run"]["control"] is True
    given = {"pause": {}, "unpause": {}, "cancel": {"task_id": "t1"}, "resize": {"executor": "threads", "workers": 3}}
    for order, body in given.items():
        answer = client.post(f"/api/control/{order}", json.dumps(body).encode())
        assert (answer.status, answer.json()) == (200, {"done": True})
    assert control.orders == [("pause",), ("unpause",), ("cancel", "t1"), ("resize", "threads", 3)]


def test_orders_need_what_only_the_page_can_send(serve: Serve, made: Any, control: Control) -> None:
    """fault:E4: no form, image or script of another site, and no GET, gives an order."""
    client = serve(run=made.run_info(control=control), control=True)
    refused = {
        "of a form": ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        "as text": ({"Content-Type": "text/plain"}, 415),
        "as json in name only": ({"Content-Type": "application/jsonx"}, 415),
        "without a type": ({"Content-Type": None}, 415),
        "without the header": ({"X-Longshore": None}, 403),
        "of another site": ({"Sec-Fetch-Site": "cross-site"}, 403),
        "of another origin": ({"Origin": "https://evil.example"}, 403),
        "without the token": ({"Authorization": None}, 401),
        "by another name": ({"Host": "evil.example"}, 403),
    }
    for what, (headers, status) in refused.items():
        assert client.post("/api/control/pause", b"{}", headers).status == status, what
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH"):
        answer = client.get("/api/control/pause", method=method)
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
    for path in (
        "/api/run",
        "/",
        "/livez",
        "/api/control/stop",
        "/api/control/",
        "/api/control/pause/",
        "/api/control",
    ):
        assert client.post(path, b"{}").status == 405, path
    assert control.orders == []
    assert client.post("/api/control/pause", b"{}", {"Content-Type": f"{JSON}; charset=utf-8"}).status == 200
    assert control.orders == [("pause",)]


@pytest.mark.parametrize(
    ("order", "body", "status"),
    [
        ("cancel", b'{"task_id": "nobody"}', 404),
        ("cancel", b'{"task_id": 7}', 400),
        ("cancel", b'{"task_id": "t1", "function": "os.system"}', 400),
        ("cancel", b"", 400),
        ("cancel", b"\xff\xfe", 400),
        ("cancel", b"[" * 60_000, 400),
        ("resize", b'{"executor": "threads", "workers": 0}', 400),
        ("resize", b'{"executor": "threads", "workers": 1.5}', 400),
        ("resize", b'{"executor": "threads"}', 400),
        ("pause", b'{"for": "ever"}', 400),
        ("pause", b"[]", 400),
    ],
)
def test_orders_that_mean_nothing_are_refused(
    serve: Serve, made: Any, control: Control, order: str, body: bytes, status: int
) -> None:
    """What is no such order says why, and is not carried out."""
    client = serve(run=made.run_info(control=control), control=True, events=made.events_of(1))
    answer = client.post(f"/api/control/{order}", body)
    assert answer.status == status
    assert answer.json()["error"]
    assert control.orders == []


def test_orders_come_to_nothing_when_the_run_is_over(serve: Serve, made: Any, control: Control) -> None:
    """A run that has ended takes none."""
    client = serve(run=made.run_info(control=control, summary=made.summary), control=True)
    assert client.post("/api/control/pause", b"{}").status == 409
    assert client.get("/api/run").json()["run"]["control"] is False
    assert control.orders == []
