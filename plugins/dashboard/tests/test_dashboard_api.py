"""What pages read: each path, its parameters, versions, packing, and what settings keep from view."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pytest
from longshore.records import (
    Happening,
    MetricsPoint,
    ResourceUse,
    RunHistory,
    RunSetup,
    SettingEntry,
    ThrottleBand,
    WorkerStats,
    WorkerStatus,
)
from longshore_dashboard._plain import TEXT_CHARS, Plain

Serve = Any  # the fixture: test modules cannot import a conftest
XSS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "</script><svg/onload=alert(1)>",
    "\u202etxt.exe",
    "a\x00b\x1b[31m",
    "\udce9 no utf-8",
    "x" * 10_000,
]


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def test_the_head_of_all_pages(serve: Serve, made: Any) -> None:
    """`/api/run` says which run it is, how it is, and how it ended."""
    client = serve(events=made.events_of(1))
    told = client.get("/api/run").json()
    assert told["run"] == {
        "run_id": "r1",
        "name": "longshore",
        "started": made.began,
        "live": True,
        "control": False,
        "version": 1,
    }
    assert (told["state"], told["health"], told["notes"], told["left_out"]) == ("running", None, [], 0)
    assert told["snapshot"]["started"] == made.began


def test_sums_tasks_failures_and_a_timeline(serve: Serve, made: Any) -> None:
    """The pages of the store, with what they are asked for."""
    events = [event for n in range(30) for event in made.events_of(n, failed=n % 3 == 0, key=f"doc-{n}")]
    client = serve(events=events)
    overview = client.get("/api/overview").json()
    assert [(one["name"], one["total"], one["left"], one["failed"]) for one in overview["stages"]] == [
        ("work", 30, 0, 10)
    ]
    assert sum(overview["throughput"]["counts"][0]) == 30
    page = client.get("/api/tasks?state=failed,timed_out&sort=ended&desc=1&limit=4").json()
    assert [row["task_id"] for row in page["rows"]] == ["t27", "t24", "t21", "t18"]
    assert page["total"] == 10
    following = client.get(f"/api/tasks?state=failed,timed_out&sort=ended&desc=1&limit=4&after={page['next']}").json()
    assert [row["task_id"] for row in following["rows"]] == ["t15", "t12", "t9", "t6"]
    assert [row["key"] for row in client.get("/api/tasks?q=DOC-17").json()["rows"]] == ["doc-17"]
    [group] = client.get("/api/failures").json()
    assert (group["type"], group["count"], group["message"]) == ("ValueError", 10, "no")
    detail = client.get("/api/tasks/t3").json()
    assert (detail["task"]["state"], detail["message"]) == ("failed", "no")
    start = made.began + 5
    timeline = client.get(f"/api/timeline?from={start}&to={start + 3}&by=stages").json()
    assert timeline["lanes"]
    assert all(isinstance(bar, list) for bar in timeline["bars"])
    assert [(row["worker"], row["tasks"], row["live"]) for row in client.get("/api/workers").json()] == [
        ("thread-0", 30, None)
    ]


@pytest.mark.parametrize(
    "target",
    [
        "/api/tasks?state=nope",
        "/api/tasks?sort=nope",
        "/api/tasks?sort=id;drop",
        "/api/tasks?limit=x",
        "/api/tasks?limit=-1",
        "/api/tasks?limit=1001",
        "/api/tasks?limit=1.5",
        "/api/tasks?after=%27%20OR%201",
        f"/api/tasks?q={'a' * 600}",
        "/api/timeline?from=nan",
        "/api/timeline?to=inf",
        "/api/timeline?by=nothing",
        "/api/resources?from=abc",
        "/api/logs?level=loud",
        "/api/logs?after=-1",
    ],
)
def test_what_cannot_be_asked_is_said_in_a_sentence(serve: Serve, made: Any, target: str) -> None:
    """A bad parameter is 400 and names what may be given."""
    answer = serve(events=made.events_of(1)).get(target)
    assert answer.status == 400
    assert len(answer.json()["error"]) > 15


def test_what_is_not_there(serve: Serve) -> None:
    """An unknown task or path is 404, as JSON."""
    client = serve()
    for path in ("/api/tasks/nope", "/api/nope", "/api", "/API/run", "/api/run/"):
        answer = client.get(path)
        assert (answer.status, answer.headers["content-type"]) == (404, "application/json"), path


def test_what_has_not_changed_is_not_sent_again(serve: Serve, made: Any) -> None:
    """The store's pages carry its version, and who has it is told so with an empty answer."""
    client = serve(events=made.events_of(1))
    tag = client.get("/api/tasks").headers["etag"]
    assert client.get("/api/tasks", {"If-None-Match": tag}).status == 304
    assert client.get("/api/tasks", {"If-None-Match": f'W/{tag}, "x"'}).body == b""
    client.sink.on_events(made.events_of(2))
    changed = client.get("/api/tasks", {"If-None-Match": tag})
    assert changed.status == 200
    assert changed.headers["etag"] != tag
    for path in ("/api/overview", "/api/failures", "/api/plugins"):
        tag = client.get(path).headers["etag"]
        assert client.get(path, {"If-None-Match": tag}).status == 304


def test_long_answers_are_packed_for_who_takes_that(serve: Serve, made: Any) -> None:
    """More than a kilobyte goes by gzip where the browser says so; with a tag of its own."""
    client = serve(events=[event for n in range(50) for event in made.events_of(n)])
    plain, packed = client.get("/api/tasks"), client.get("/api/tasks", {"Accept-Encoding": "br, gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(packed.body)) == plain.json()
    assert len(packed.body) < len(plain.body) / 3
    assert packed.headers["etag"] != plain.headers["etag"]
    assert packed.headers["vary"] == "accept-encoding"
    assert "content-encoding" not in client.get("/api/nope", {"Accept-Encoding": "gzip"}).headers


def test_the_page_and_its_files(serve: Serve) -> None:
    """The page is asked for again each time, its files with their hash never."""
    client = serve()
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    assert client.get("/", {"If-None-Match": page.headers["etag"]}).status == 304


@pytest.mark.parametrize("text", XSS)
def test_hostile_texts_are_data(serve: Serve, made: Any, text: str) -> None:
    """fault:E5: what a task or an exception is called travels as JSON, shortened, never as markup."""
    client = serve(events=made.events_of(1, failed=True, key=text, message=text))
    for path in ("/api/tasks", "/api/tasks/t1", "/api/failures", "/api/overview"):
        answer = client.get(path)
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        answer.body.decode("utf-8")
    [row] = client.get("/api/tasks").json()["rows"]
    assert len(row["key"]) <= TEXT_CHARS + 10
    assert row["key"][:5] == text[:5] or "\udce9" in text


def test_settings_keep_from_view_what_tasks_work_on_and_what_errors_say(serve: Serve, made: Any) -> None:
    """With `show_keys` and `show_errors` off no key, label or message is on any page, nor to be found by searching."""
    events = made.events_of(1, failed=True, key="patient-4711", message="no such patient 4711")
    client = serve(events=events, show_keys=False, show_errors=False)
    paths = ("/api/overview", "/api/tasks", "/api/tasks/t1", "/api/failures", "/api/run", "/api/workers")
    for path in paths:
        assert b"4711" not in client.get(path).body, path
    assert client.get("/api/tasks?q=4711").status == 400
    assert client.get("/api/failures").json()[0]["type"] == "ValueError"
    shown = serve(events=events)
    assert b"patient-4711" in shown.get("/api/tasks").body


def test_what_was_measured_with_its_limits_and_bands(serve: Serve, made: Any) -> None:
    """Points by the minute and finer ones follow each other without overlap; times bound them."""
    use = {"cpu": ResourceUse(50.0, 80.0)}
    history = RunHistory(
        points_minute=[MetricsPoint(at=at(60.0 * n), usage=use) for n in range(5)],
        points_fine=[MetricsPoint(at=at(150.0 + n), usage=use) for n in range(3)],
        bands=[ThrottleBand(reason="memory is short", began=at(100), ended=None)],
        happenings=[Happening(type="alert", subject="cpu", began=at(1))],
    )
    client = serve(run=made.run_info(history=lambda: history))
    told = client.get("/api/resources").json()
    assert [point["at"] for point in told["points"]] == [0, 60, 120, 150, 151, 152]
    assert told["limits"] == {"cpu": 80.0}
    assert told["bands"] == [{"reason": "memory is short", "began": 100, "ended": None}]
    assert told["happenings"][0]["began"] == 1
    between = client.get("/api/resources?from=100&to=150.5").json()
    assert [point["at"] for point in between["points"]] == [120, 150]


def test_workers_that_live_and_what_the_run_is_done_with(serve: Serve, made: Any) -> None:
    """A worker that has done nothing yet is there; settings are shown as the run gives them."""
    stats = WorkerStats(worker_id="w-9", worker_type="process", status=WorkerStatus.IDLE, pid=77)
    setup = RunSetup(
        settings=[SettingEntry(key="a.token", value="********", origin="set")], versions={"python": "3.11"}
    )
    client = serve(run=made.run_info(workers=lambda: [stats], setup=lambda: setup))
    [row] = client.get("/api/workers").json()
    assert (row["worker"], row["tasks"], row["live"]["status"], row["live"]["pid"]) == ("w-9", 0, "idle", 77)
    assert client.get("/api/plugins").json() == {
        "plugins": [],
        "settings": [{"key": "a.token", "value": "********", "origin": "set"}],
        "versions": {"python": "3.11"},
    }


class Colour(StrEnum):
    """An enumeration."""

    RED = "red"


def test_values_of_any_kind_become_json() -> None:
    """Times, enumerations, sets, numbers that are none and foreign objects are all shown somehow."""
    plain = Plain(keys=True, errors=True)
    given = {"at": at(1.5), "colour": Colour.RED, "nan": float("nan"), "some": (1, {2}), "what": object, "none": None}
    shown = plain.of(given)
    assert shown["what"].startswith("<class")
    del shown["what"]
    assert shown == {"at": 1.5, "colour": "red", "nan": None, "some": [1, [2]], "none": None}
