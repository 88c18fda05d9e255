"""Ways through the page: by keys alone, by links, by the address; what a page may be asked to do to a run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from longshore.events import TaskStarted, TaskSubmitted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
BEGIN = datetime(2026, 8, 30, 10, 15, tzinfo=UTC)


@pytest.fixture
def run(told: Callable[..., Any], made: tuple[Any, ...]) -> Any:  # Any: a run told by hand
    """Return a run of 400 documents, of which one task has not ended."""
    schedule, measured, standing, _ = made
    run = told(measured(BEGIN))
    at: dict[str, Any] = {
        "seq": 0,
        "at": BEGIN,
        "task_id": "slow-one",
        "name": "extract",
        "executor": "processes",
        "priority": 2,
        "key": "scans/slow.pdf",
    }
    events = [*schedule(400, BEGIN), TaskSubmitted(**at), TaskStarted(**at)]
    run.tell(events)
    run.snapshot = standing(run, events)
    return run


def focused(page: Any) -> str:
    return str(page.evaluate("document.activeElement.textContent.trim()"))


def test_keys_alone_lead_everywhere(run: Any, site: Callable[[str], Any], made: tuple[Any, ...]) -> None:
    """The first Tab offers the way to the content, digits open pages and focus their titles, ? explains, Esc closes."""
    drawn = made[3]
    shown = site(run.sink.link())
    with shown.context() as context:
        page = shown.open(context)
        page.keyboard.press("Tab")
        assert focused(page) == "Skip to the content"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        assert "#" not in page.url
        for digit, title in ((2, "Timeline"), (3, "Tasks"), (4, "Failures"), (8, "Logs"), (1, "Overview")):
            page.keyboard.press(str(digit))
            page.wait_for_selector(f"h1:focus >> text={title}")
            assert page.title().startswith(title)
        page.keyboard.press("?")
        page.wait_for_selector("dialog[open]")
        assert page.evaluate("document.activeElement.closest('dialog') !== null")
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog", state="detached")
        page.keyboard.press("/")
        page.wait_for_selector("h1 >> text=Tasks")
        drawn(page)
        page.keyboard.press("/")
        page.keyboard.type("00007")
        page.wait_for_url("**q=00007**")
        page.wait_for_selector("text=00007.pdf")
        page.keyboard.press("t")  # a letter in a field is a letter
        assert page.evaluate("document.documentElement.dataset.theme ?? 'none'") == "none"


def test_single_keys_can_be_switched_off(run: Any, site: Callable[[str], Any]) -> None:
    """Who presses keys by chance, or by voice, has them do nothing; that is remembered."""
    shown = site(run.sink.link())
    with shown.context() as context:
        page = shown.open(context)
        page.keyboard.press("?")
        page.get_by_label("Single keys do something").uncheck()
        page.get_by_role("button", name="Close").click()
        page.reload()
        page.wait_for_selector("h1 >> text=Overview")
        page.keyboard.press("2")
        page.keyboard.press("?")
        page.wait_for_timeout(100)
        assert page.locator("dialog").count() == 0
        assert "page=" not in page.url


def test_the_address_holds_what_is_shown(run: Any, site: Callable[[str], Any], made: tuple[Any, ...]) -> None:
    """Filters, order and place stand in the address: a window with it shows the same, and Back goes step by step."""
    drawn = made[3]
    shown = site(run.sink.link())
    with shown.context() as context:
        page = shown.open(context, "?page=tasks")
        page.get_by_role("button", name="completed", exact=True).click()
        page.wait_for_url("**state=completed**")
        page.get_by_role("link", name="Ran").click()
        page.wait_for_url("**sort=run_s**desc=1**")
        drawn(page)
        page.locator("a[rel=next]").click()
        page.wait_for_url("**after=**")
        drawn(page)
        rows = page.locator("tbody").inner_text()
        other = shown.open(context, page.url.removeprefix(shown.base))
        assert other.locator("tbody").inner_text() == rows
        other.close()
        page.locator("tbody a").first.click()
        page.wait_for_selector(".waterfall")
        page.go_back()
        page.wait_for_selector("a[rel=prev]")
        drawn(page)
        assert page.locator("tbody").inner_text() == rows
        page.locator("a[rel=prev]").click()
        page.wait_for_selector("a[rel=prev]", state="detached")
        page.go_back()
        page.go_back()
        page.go_back()
        page.go_back()
        page.wait_for_selector("button[aria-pressed=true]", state="detached")
        assert page.url == f"{shown.base}?page=tasks"


def test_the_timeline_zooms_and_leads_to_tasks(run: Any, site: Callable[[str], Any], made: tuple[Any, ...]) -> None:
    """A brush and keys zoom, Esc shows all again; what is drawn stands in a table too, whose rows open their tasks."""
    drawn = made[3]
    shown = site(run.sink.link())
    with shown.context() as context:
        page = shown.open(context, "?page=timeline")
        box = page.locator(".gantt canvas").bounding_box()
        page.mouse.move(box["x"] + 400, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + 470, box["y"] + 40, steps=5)
        page.mouse.up()
        page.wait_for_url("**from=**to=**")
        drawn(page)
        page.locator(".gantt [tabindex]").first.focus()
        page.keyboard.press("+")
        page.wait_for_timeout(50)
        drawn(page)
        page.locator("details summary").click()
        row = page.locator("details tbody tr", has_text="completed").first
        wanted = row.locator("td").nth(5).inner_text()
        row.locator("a").click()
        page.wait_for_selector(".facts-list")
        drawn(page)
        assert "@" not in page.url
        assert wanted in page.locator(".facts-list").inner_text()
        page.go_back()
        page.wait_for_selector(".gantt canvas")
        page.locator(".gantt [tabindex]").first.focus()
        page.keyboard.press("Escape")
        page.wait_for_url(lambda url: "from=" not in url)


def test_a_bar_leads_to_its_task(run: Any, site: Callable[[str], Any]) -> None:
    """Whatever bar is under the pointer says what it is, and a click opens that task."""
    shown = site(run.sink.link())
    with shown.context() as context:
        page = shown.open(context, f"?page=timeline&from={BEGIN.timestamp() + 5}&to={BEGIN.timestamp() + 8}")
        box = page.locator(".gantt canvas").bounding_box()
        tip = page.locator(".tip")
        for place in range(200, 1000, 20):
            page.mouse.move(box["x"] + place, box["y"] + 32)
            page.wait_for_timeout(20)
            if tip.count():
                break
        said = tip.inner_text()
        page.mouse.down()
        page.mouse.up()
        page.wait_for_selector(".facts-list")
        facts = page.locator(".facts-list").inner_text()
        assert said.split()[0] in facts  # the stage
        assert said.split("ran ")[1].split(",")[0] in facts


def test_orders_reach_the_run(run: Any, site: Callable[[str], Any]) -> None:
    """Pause, cancel and resize do what they say, cancelling only when pressed twice."""
    shown = site(run.sink.link())
    with shown.context() as context:
        page = shown.open(context)
        page.get_by_role("button", name="Pause").click()
        page.get_by_role("button", name="Go on").click()
        page.get_by_role("button", name="Pause").wait_for()
        page.get_by_role("button", name="Cancel", exact=True).click()
        assert run.orders == [("pause",), ("unpause",)]
        page.get_by_role("button", name="Cancel this task?").click()
        page.get_by_role("button", name="Cancel", exact=True).wait_for()
        page.keyboard.press("5")
        page.get_by_label("processes").fill("9")
        page.get_by_role("button", name="Change").click()
        page.get_by_role("button", name="Change").wait_for()
        page.wait_for_timeout(200)
    assert run.orders[2:] == [("cancel", "slow-one"), ("resize", "processes", 9)]


def test_the_theme_is_kept(run: Any, site: Callable[[str], Any]) -> None:
    """The system's theme holds until another one is chosen, which holds then, from before the page is drawn."""
    shown = site(run.sink.link())
    with shown.context("dark") as context:
        page = shown.open(context)
        dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        page.get_by_role("button", name="Theme").click()
        light = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert light != dark
        page.reload()
        page.wait_for_selector("h1")
        assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == light
