"""Following a run over HTTP: events as they come, places, slow and vanished pages, the end."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from longshore_dashboard import _feed

Serve = Any  # the fixture: test modules cannot import a conftest


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the period short, so that no test waits for it."""
    monkeypatch.setattr(_feed, "PERIOD_S", 0.005)
    monkeypatch.setattr(_feed, "FRAMES_A_SECOND", 100_000)


def test_a_page_follows_a_run(serve: Serve, made: Any) -> None:
    """The whole comes at once, then what changes, then the end; none of it is packed or kept."""
    client = serve()
    page = client.follow()
    assert page.answer.status == 200
    assert page.answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert page.answer.headers["cache-control"] == "no-store"
    assert "content-encoding" not in page.answer.headers
    events = (event for event in page.events() if "data" in event)
    first = next(events)
    assert (first["event"], first["data"]["run"]["run_id"], first["data"]["state"]) == ("snapshot", "r1", "running")
    client.sink.on_events(made.events_of(1, failed=True))
    changed = next(event for event in events if "tasks" in event["data"]["changed"])
    assert set(changed["data"]["changed"]) >= {"tasks", "failures", "workers"}
    assert changed["data"]["version"] == 1
    client.sink.close(made.summary("stopped"))
    last = list(events)[-1]
    assert last["data"]["state"] == "stopped"
    page.close()


def test_a_page_goes_on_from_where_it_was(serve: Serve, made: Any) -> None:
    """With `Last-Event-ID` only what came since is sent."""
    client = serve()
    page = client.follow()
    events = (event for event in page.events() if "data" in event)
    number = next(events)["id"]
    for count in (1, 2):
        client.sink.on_events(made.events_of(count))
        number = next(event for event in events if event["data"]["version"] == count)["id"]
    page.close()
    again = client.follow({"Last-Event-ID": str(number - 1)})
    first = next(event for event in again.events() if "data" in event)
    assert (first["event"], first["id"]) == ("delta", number)
    again.close()
    for strange in ("-1", "x", "9" * 20, "1.5", ""):
        other = client.follow({"Last-Event-ID": strange})
        assert next(event for event in other.events() if "data" in event)["event"] == "snapshot"
        other.close()


def test_one_page_too_many_is_told_to_come_later(serve: Serve, made: Any) -> None:
    """fault:E3: the 33rd gets 503 and is served all else; when one leaves there is room."""
    client = serve()
    pages = [client.follow() for _ in range(32)]
    assert [page.answer.status for page in pages] == [200] * 32
    refused = client.get("/api/events")
    assert (refused.status, refused.headers["retry-after"]) == (503, "10")
    assert client.get("/api/run").status == 200
    assert client.get("/api/events", method="HEAD").status == 200
    pages.pop().close()
    made.eventually(lambda: client.serving.feed.followers < 32, "a free place")
    late = client.follow()
    assert late.answer.status == 200
    for page in (*pages, late):
        page.close()
    made.eventually(lambda: not client.serving.feed.followers, "the end of all")


@pytest.mark.slow
def test_hundreds_may_follow_where_settings_say_so(serve: Serve, made: Any) -> None:
    """fault:E3: 250 pages follow, 200 of them read nothing, and those that do hear of each change."""
    client = serve(max_clients=250)
    pages = [client.follow() for _ in range(250)]
    assert all(page.answer.status == 200 for page in pages)
    assert client.get("/api/events").status == 503
    readers = [(event for event in page.events() if "data" in event) for page in pages[:50]]
    for count in range(1, 4):
        client.sink.on_events(made.events_of(count))
        for events in readers:
            next(event for event in events if event["data"]["version"] >= count)
    assert client.get("/livez").status == 200
    for page in pages:
        page.close()
    made.eventually(lambda: not client.serving.feed.followers, "the end of all")


def test_who_follows_needs_the_token_and_the_name(serve: Serve) -> None:
    """fault:E4: the feed is guarded as all else."""
    client = serve()
    assert client.get("/api/events", {"Authorization": None}).status == 401
    assert client.get("/api/events", {"Host": "evil.example"}).status == 403
    assert client.get("/api/events", {"Origin": "http://evil.example"}).status == 403
    assert client.serving.feed.followers == 0


def test_hostile_names_stay_within_their_event(serve: Serve, made: Any) -> None:
    """fault:E5: line ends and markup in names and messages are data: no event is made up by a task."""
    evil = "x\n\nevent: snapshot\ndata: {}\r\n\r\n</script><img src=x onerror=alert(1)>\u2028\x00"
    hostile = made.snapshot()
    client = serve(run=made.run_info(name=evil, snapshot=lambda: hostile))
    page = client.follow()
    events = [event for event in itertools.islice(page.events(), 2) if "data" in event]
    assert events[0]["data"]["run"]["name"] == evil
    page.close()
