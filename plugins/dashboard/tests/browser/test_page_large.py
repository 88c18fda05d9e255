"""A run of 100,000 tasks, and pictures: figures are printed, not judged; run with `-s` to see them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from longshore.records import RunSummary

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(400)]
BEGIN = datetime(2026, 8, 30, 10, 15, tzinfo=UTC)
DOCUMENTS = 35_000
TASKS = 100_000
FIRST_LOAD_BYTES = 100_000
PICTURE_BYTES = 150_000
IDLE_S = 10.0
QUERIES = (
    "timeline",
    "timeline&by=stages",
    "tasks",
    "tasks&sort=run_s&desc=1",
    "tasks&state=failed&q=EOF",
    "failures",
    "workers",
    "resources",
)
_TIMES = """() => performance.getEntriesByType("resource")
    .filter((one) => one.name.includes("/api/"))
    .map((one) => [one.name.split("/api/")[1], Math.round(one.responseEnd - one.requestStart), one.transferSize])"""


def cpu_s() -> float:
    """Return what all processes of the browser have used."""
    used = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            if "chrom" in process.name():
                used += sum(process.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return used


def idle(page: Any) -> tuple[float, float]:
    """Return what of a CPU the page's thread, and all of the browser, takes while nothing is done, in percent."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def busy_s() -> float:
        figures = session.send("Performance.getMetrics")["metrics"]
        return float(next(one["value"] for one in figures if one["name"] == "TaskDuration"))

    page.wait_for_timeout(2000)
    own, whole, began = busy_s(), cpu_s(), time.monotonic()
    page.wait_for_timeout(IDLE_S * 1000)
    took = time.monotonic() - began
    return 100 * (busy_s() - own) / took, 100 * (cpu_s() - whole) / took


def first_load(site: Any, page: Any, drawn: Callable[[Any], None]) -> float:
    """Return the bytes that came for the first page, with its data, and print them."""
    sizes: list[float] = []
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.goto(site.base)
    drawn(page)
    page.wait_for_timeout(500)
    print(f"first load: {sum(sizes) / 1000:.1f} kB in {len(sizes)} answers, with the data")
    return sum(sizes)


def open_and_time(site: Any, page: Any, query: str, drawn: Callable[[Any], None]) -> None:
    """Open a page, and print how long it and what it asked for took."""
    began = time.monotonic()
    page.goto(f"{site.base}?page={query}")
    drawn(page)
    times = "; ".join(f"{name[:60]} {ms} ms, {size / 1000:.1f} kB" for name, ms, size in page.evaluate(_TIMES))
    print(f"{query}: drawn in {1000 * (time.monotonic() - began):.0f} ms ({times})")


def test_a_run_of_100_000_tasks_stays_usable(
    told: Callable[..., Any], made: tuple[Any, ...], site: Callable[[str], Any]
) -> None:
    """Every page is drawn from what the server sums up, pages of rows are small, the first load is below 100 kB."""
    schedule, measured, standing, drawn = made
    run = told(measured(BEGIN))
    events = schedule(DOCUMENTS, BEGIN)
    run.snapshot = standing(run, events)
    began = time.monotonic()
    run.tell(events)
    print(f"\n{run.snapshot.submitted} tasks taken in: {time.monotonic() - began:.1f} s")
    assert run.snapshot.submitted > TASKS
    shown = site(run.sink.link())
    with shown.context() as context:
        page = context.new_page()
        assert first_load(shown, page, drawn) < FIRST_LOAD_BYTES
        for query in QUERIES:
            open_and_time(shown, page, query, drawn)
            assert ("Binned" in page.locator(".main").inner_text()) is query.startswith("timeline")
            assert page.locator("tbody tr").count() <= 1000
        page.goto(shown.base)
        drawn(page)
        print("idle, of a run that goes on: page {:.1f} %, browser {:.1f} % of a CPU".format(*idle(page)))
        run.over = RunSummary(snapshot=run.snapshot, state="completed")
        page.reload()
        drawn(page)
        print("idle, of a run that is over: page {:.1f} %, browser {:.1f} % of a CPU".format(*idle(page)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_for_the_docs(
    told: Callable[..., Any],
    made: tuple[Any, ...],
    site: Callable[[str], Any],
    pictures: Path | None,
    tmp_path: Path,
    scheme: str,
) -> None:
    """What the docs show is a run as the page draws it, in a size that docs can carry."""
    schedule, measured, standing, _ = made
    begin = datetime.now(UTC) - timedelta(seconds=300)
    run = told(measured(begin))
    events = [event for event in schedule(3600, begin) if (event.at - begin).total_seconds() < 300]
    run.snapshot = standing(run, events)
    run.tell(events)
    folder = pictures or tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    shown = site(run.sink.link())
    queries = {
        "overview": "",
        "timeline": f"?page=timeline&from={begin.timestamp() + 200}&to={begin.timestamp() + 230}",
        "failures": "?page=failures",
        "resources": "?page=resources",
    }
    with shown.context(scheme, viewport={"width": 1360, "height": 800}) as context:
        for name, query in queries.items():
            page = shown.open(context, query)
            page.wait_for_timeout(600)
            picture = folder / f"dashboard-{name}-{scheme}.png"
            page.screenshot(path=picture)
            assert picture.stat().st_size < PICTURE_BYTES
            page.close()
