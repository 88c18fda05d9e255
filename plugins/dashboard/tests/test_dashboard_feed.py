"""Who follows a run: frames made once for all, a ring for who comes back, and nobody who is waited for."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import pytest
from longshore_dashboard import _feed
from longshore_dashboard._feed import Feed, Follower
from longshore_dashboard._threads import PageThreads

pytestmark = pytest.mark.anyio
DEADLINE_S = 20.0


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio."""
    return "asyncio"


class Source:
    """What frames are made of; counts how often it was asked."""

    def __init__(self) -> None:
        """Ask nothing yet."""
        self.wholes = self.moments = 0
        self.over = False
        self.also: tuple[str, ...] = ()

    def whole(self) -> dict[str, Any]:  # Any: JSON
        """Return the whole."""
        self.wholes += 1
        return {"whole": self.wholes}

    def moment(self) -> dict[str, Any]:  # Any: JSON
        """Return a moment."""
        self.moments += 1
        return {"moment": self.moments}


class Page:
    """One who follows, and keeps what comes."""

    def __init__(self, feed: Feed, last: int | None = None) -> None:
        """Follow."""
        follower = feed.join()
        assert follower is not None
        self.follower: Follower = follower
        self.frames: list[bytes] = []
        self.held = asyncio.Event()
        self.held.set()
        self.task = asyncio.create_task(feed.follow(follower, self.take, last))

    async def take(self, frame: bytes) -> None:
        """Take a frame, unless held."""
        await self.held.wait()
        self.frames.append(frame)

    def told(self) -> list[tuple[int, str]]:
        """Return number and event of all that came."""
        found = []
        for part in b"".join(self.frames).decode().split("\n\n"):
            if part.startswith("id: "):
                number, event, _ = part.split("\n", 2)
                found.append((int(number[4:]), event[7:]))
        return found

    def has(self, count: int) -> bool:
        """Tell whether so many events came."""
        return len(self.told()) >= count

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await asyncio.sleep(0.001)

    async def leave(self) -> None:
        """Leave."""
        self.follower.leave()
        await self.task


Opened = tuple[Feed, Source]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the periods short."""
    monkeypatch.setattr(_feed, "PERIOD_S", 0.001)
    monkeypatch.setattr(_feed, "FRAMES_A_SECOND", 10_000)


@pytest.fixture
def make() -> Iterator[Callable[..., Awaitable[Opened]]]:
    """Make a feed on the test's loop."""
    threads = PageThreads(2)

    async def opened(most: int = 32) -> Opened:
        source = Source()
        feed = Feed(
            whole=source.whole,
            moment=source.moment,
            over=lambda: source.over,
            also=lambda: source.also,
            threads=threads,
            most=most,
        )
        feed.begin()
        return feed, source

    yield opened
    threads.shutdown()


Make = Callable[..., Awaitable[Opened]]


def test_the_figures_are_those_that_are_promised() -> None:
    """At most four frames a second, and less for each with more than 32 who follow; a bounded ring."""
    assert (_feed.PERIOD_S, _feed.FRAMES_A_SECOND, _feed.RING, _feed.BEHIND) == (0.25, 128, 64, 8)


@pytest.mark.usefixtures("quick")
async def test_who_comes_gets_the_whole_and_then_what_changes(make: Make) -> None:
    """First an event `snapshot` with a number, then one `delta` for each thing told, in order, with what changed."""
    feed, _ = await make()
    page = Page(feed)
    await page.until(page.told)
    feed.tell(["tasks"])
    await page.until(lambda: len(page.told()) >= 2)
    feed.tell(["failures", "tasks"])
    await page.until(lambda: len(page.told()) >= 3)
    assert page.told()[:3] == [(0, "snapshot"), (1, "delta"), (2, "delta")]
    data = [json.loads(line[6:]) for line in b"".join(page.frames).decode().split("\n") if line.startswith("data: ")]
    assert [one["changed"] for one in data[:3]] == [list(_feed.KINDS), ["tasks"], ["failures", "tasks"]]
    await page.leave()


@pytest.mark.usefixtures("quick")
async def test_a_frame_is_made_once_for_all(make: Make) -> None:
    """However many follow, the whole and each moment are asked for once."""
    feed, source = await make(most=200)
    pages = [Page(feed) for _ in range(200)]
    for page in pages:
        await page.until(page.told)
    feed.tell(["tasks"])
    for page in pages:
        await page.until(partial(page.has, 2))
    assert source.wholes < 20
    assert source.moments <= 2
    for page in pages:
        await page.leave()


async def test_no_more_follow_than_may(make: Make) -> None:
    """The next one has no place, until one leaves."""
    feed, _ = await make(most=2)
    places = [feed.join(), feed.join()]
    assert all(places)
    assert feed.join() is None
    feed.leave(places[0])  # type: ignore[arg-type]  # it is there
    assert feed.join() is not None


@pytest.mark.usefixtures("quick")
async def test_who_is_slow_is_given_the_whole_again(make: Make) -> None:
    """fault:E3: a page that takes nothing for a while gets the newest whole, not what it missed, and keeps no queue."""
    feed, source = await make()
    slow, quick = Page(feed), Page(feed)
    await slow.until(slow.told)
    slow.held.clear()
    for count in range(2, 40):
        feed.tell(["tasks"])
        await quick.until(partial(quick.has, count))
    moments = source.moments
    slow.held.set()
    await slow.until(lambda: [event for _, event in slow.told()].count("snapshot") == 2)
    assert feed.resent == 1
    assert source.moments - moments < 5
    numbers = [number for number, _ in slow.told()]
    assert numbers == sorted(numbers)
    await slow.leave()
    await quick.leave()


@pytest.mark.usefixtures("quick")
async def test_who_comes_back_gets_what_it_missed(make: Make) -> None:
    """With the number of its last event a page gets those after it, as long as they are in the ring."""
    feed, source = await make()
    page = Page(feed)
    await page.until(page.told)
    for count in range(2, 12):
        feed.tell(["tasks"])
        await page.until(partial(page.has, count))
    last = page.told()[-1][0]
    again = Page(feed, last=last - 9)
    await again.until(lambda: len(again.told()) >= 9)
    assert again.told()[:9] == [(number, "delta") for number in range(last - 8, last + 1)]
    for strange in (last + 1000, 10**14):
        other = Page(feed, last=strange)
        await other.until(other.told)
        assert other.told()[0][1] == "snapshot"
        await other.leave()
    assert source.wholes >= 2
    await page.leave()
    await again.leave()


@pytest.mark.usefixtures("quick")
async def test_a_number_that_has_left_the_ring_means_the_whole(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ring is bounded: who was away for longer is given the whole."""
    feed, _ = await make()
    page = Page(feed)
    await page.until(page.told)
    for _ in range(_feed.RING + 1):
        feed._publish(b"")
    late = Page(feed, last=0)
    await late.until(late.told)
    assert late.told()[0][1] == "snapshot"
    assert len(feed._frames) == _feed.RING
    await page.leave()
    await late.leave()


async def test_nothing_is_made_while_nobody_follows(make: Make) -> None:
    """A run without a page costs no snapshot."""
    feed, source = await make()
    for _ in range(100):
        feed.tell(["tasks"])
    await asyncio.sleep(0)
    assert (source.wholes, source.moments) == (0, 0)


async def test_a_run_that_is_still_told_of_while_nothing_happens(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the run goes on its gauges come now and then; when it is over only a heartbeat does."""
    monkeypatch.setattr(_feed, "IDLE_S", 0.01)
    monkeypatch.setattr(_feed, "HEARTBEAT_S", 0.01)
    monkeypatch.setattr(_feed, "PERIOD_S", 0.001)
    feed, source = await make()
    source.also = ("logs",)
    page = Page(feed)
    await page.until(lambda: len(page.told()) >= 3)
    assert b'"changed":["logs"]' in page.frames[-1]
    source.over = True
    await page.until(lambda: b": still here\n\n" in page.frames[-1])
    moments = source.moments
    await page.until(lambda: page.frames.count(b": still here\n\n") >= 3)
    assert source.moments == moments
    await page.leave()


@pytest.mark.usefixtures("quick")
async def test_the_end_is_told_to_all_and_lets_them_go(make: Make) -> None:
    """At the end each page gets one last frame, and then its answer is complete; nobody joins any more."""
    feed, _ = await make()
    pages = [Page(feed) for _ in range(3)]
    for page in pages:
        await page.until(page.told)
    await feed.end()
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.gather(*(page.task for page in pages))
    assert all(page.told()[-1][1] == "delta" for page in pages)
    assert feed.join() is None


@pytest.mark.usefixtures("quick")
async def test_it_may_be_told_from_any_thread(make: Make) -> None:
    """The sink's thread tells, the listener's loop is woken."""
    feed, _ = await make()
    page = Page(feed)
    await page.until(page.told)
    thread = threading.Thread(target=feed.tell, args=(["tasks"],))
    thread.start()
    await page.until(lambda: len(page.told()) >= 2)
    thread.join()
    await page.leave()


@pytest.mark.usefixtures("quick")
async def test_a_moment_that_cannot_be_shown_does_not_end_the_feed(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """What raises is logged, and who follows goes on."""
    feed, source = await make()
    page = Page(feed)
    await page.until(page.told)
    source.moment = lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]  # raises
    feed._moment = source.moment
    feed.tell(["tasks"])
    await page.until(lambda: b": still here\n\n" in page.frames)
    assert "could not show" in caplog.text
    await page.leave()
