"""The page of a run that goes on follows it without being asked, by one stream for all tabs, and stops with it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from longshore.records import RunSummary

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
BEGIN = datetime(2026, 8, 30, 10, 15, tzinfo=UTC)
WAIT_MS = 20_000
expect = pytest.importorskip("playwright.sync_api", reason="no playwright here: uv sync --group pages").expect
TABS = 7
_HIDE = """(hidden) => {
    Object.defineProperty(document, "visibilityState", {configurable: true, get: () => hidden ? "hidden" : "visible"});
    document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture
def run(told: Callable[..., Any], made: tuple[Any, ...]) -> Any:  # Any: a run told by hand
    """Return a run of which 30 documents are done."""
    return grown(told(), made, 30)


def grown(run: Any, made: tuple[Any, ...], documents: int) -> Any:  # Any: as above
    """Tell of so many documents; what was told before changes nothing."""
    schedule, _, standing, _ = made
    events = schedule(documents, BEGIN)
    run.snapshot = standing(run, events)
    run.tell(events)
    return run


def followers(run: Any) -> int:
    return int(run.sink._serving.feed.followers)


def until(page: Any, holds: Callable[[], bool]) -> None:
    """Wait until something holds that the page itself does not show."""
    for _ in range(WAIT_MS // 50):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it did not happen in time")


def test_pages_follow_the_run_and_stop_with_it(run: Any, site: Callable[[str], Any], made: tuple[Any, ...]) -> None:
    """New totals and rows come by themselves; at its end the page says so, keeps what it shows, and follows no more."""
    shown = site(run.sink.link())
    with shown.context() as context:
        page = shown.open(context, "?page=tasks")
        expect(page.locator(".live")).to_have_text("live", timeout=WAIT_MS)
        before = page.locator(".main-head .side").inner_text()
        grown(run, made, 60)
        expect(page.locator(".main-head .side")).not_to_have_text(before, timeout=WAIT_MS)
        expect(page.locator(".facts")).to_contain_text(f"{run.snapshot.completed} completed", timeout=WAIT_MS)
        run.over = RunSummary(snapshot=run.snapshot, state="stopped", notes=["one sink was slow"])
        expect(page.locator(".facts")).to_contain_text("stopped", timeout=WAIT_MS)
        expect(page.locator(".head")).to_contain_text("one sink was slow")
        expect(page.locator(".live")).to_have_count(0)
        until(page, lambda: followers(run) == 0)
        assert page.locator("tbody tr").count() == 100
        again = shown.open(context)
        again.wait_for_timeout(300)
        assert followers(run) == 0  # a page of a run that is over never begins to follow


def test_log_lines_come_as_they_are_written(run: Any, site: Callable[[str], Any]) -> None:
    """Who follows sees new lines at the end; level and text leave out the others."""
    log = logging.getLogger("longshore.reader")
    log.warning("page 3 has no text")
    shown = site(run.sink.link())
    with shown.context() as context:
        page = shown.open(context, "?page=logs&level=warning&q=page&follow=1")
        lines = page.locator(".log li")
        expect(lines).to_have_count(1, timeout=WAIT_MS)
        log.error("page 4 <b>is</b> torn")
        log.error("something else")
        expect(lines).to_have_count(2, timeout=WAIT_MS)
        expect(lines.last).to_contain_text("error")
        expect(lines.last).to_contain_text("page 4 <b>is</b> torn")


def test_all_tabs_share_one_stream(run: Any, site: Callable[[str], Any], made: tuple[Any, ...]) -> None:
    """Seven tabs, more than a browser opens connections to a host, all follow; hidden ones need no stream at all."""
    shown = site(run.sink.link())
    with shown.context() as context:
        pages = [shown.open(context) for _ in range(TABS)]
        grown(run, made, 60)
        for page in pages:
            expect(page.locator(".facts")).to_contain_text(f"{run.snapshot.completed} completed", timeout=WAIT_MS)
        assert followers(run) == 1
        for page in pages:
            page.evaluate(_HIDE, True)
        until(pages[0], lambda: followers(run) == 0)
        grown(run, made, 90)
        pages[3].evaluate(_HIDE, False)
        expect(pages[3].locator(".facts")).to_contain_text(f"{run.snapshot.completed} completed", timeout=WAIT_MS)
        assert followers(run) == 1
        for page in pages:
            page.close()


def test_a_browser_without_shared_workers_follows_too(
    run: Any, site: Callable[[str], Any], made: tuple[Any, ...]
) -> None:
    """Each tab has a stream of its own then, and gives it up while it is hidden."""
    shown = site(run.sink.link())
    with shown.context() as context:
        context.add_init_script("delete window.SharedWorker")
        page = shown.open(context)
        expect(page.locator(".live")).to_have_text("live", timeout=WAIT_MS)
        page.evaluate(_HIDE, True)
        until(page, lambda: followers(run) == 0)
        grown(run, made, 60)
        page.evaluate(_HIDE, False)
        expect(page.locator(".facts")).to_contain_text(f"{run.snapshot.completed} completed", timeout=WAIT_MS)


def test_who_is_one_too_many_is_told_now_and_then(told: Callable[..., Any], site: Callable[[str], Any]) -> None:
    """A page that may not follow any more shows the run all the same, and asks for it every few seconds."""
    run = told(most=1)
    shown, other = site(run.sink.link()), site(run.sink.link())
    with shown.context() as first, other.context() as second:
        page = shown.open(first)
        expect(page.locator(".live")).to_have_text("live", timeout=WAIT_MS)
        late = other.open(second)
        expect(late.locator(".live")).to_have_text("reconnecting …", timeout=WAIT_MS)
        run.snapshot = msgspec.structs.replace(run.snapshot, submitted=7, completed=7)
        expect(late.locator(".facts")).to_contain_text("7 completed", timeout=WAIT_MS)
    other.faults.clear()  # being refused is what this is about


def test_pages_outlive_their_server(run: Any, site: Callable[[str], Any]) -> None:
    """When the run's process has ended, the page says how the run ended and keeps what it shows; what else is asked of
    it, it says that nothing answers.
    """
    shown = site(run.sink.link())
    with shown.context() as context:
        page = shown.open(context)
        expect(page.locator(".live")).to_have_text("live", timeout=WAIT_MS)
        run.end()
        expect(page.locator(".facts")).to_contain_text("completed", timeout=WAIT_MS)
        expect(page.locator(".live")).to_have_count(0, timeout=WAIT_MS)
        assert page.locator("section[aria-label=Stages] tbody tr").count() == 3
        page.keyboard.press("7")
        expect(page.locator(".main .error")).to_contain_text("does not answer", timeout=WAIT_MS)
    shown.faults.clear()  # requests that fail are what this is about
