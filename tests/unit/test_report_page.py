"""The page of a report in a browser: it draws what there is, whatever the names, by itself alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from longshore._report.compare import compare
from longshore._report.compared import compared_html
from longshore._report.gather import report
from longshore._report.html import html
from longshore.records import MetricsPoint, ResourceUse, RunHistory, ThrottleBand

Script = Any  # the fixture's class: test modules cannot import a conftest
Scripts = Callable[[], Script]
Browsed = Callable[[Path, Callable[[Any], None]], None]  # Any: playwright's page
NAME = "</script><img src=x onerror=alert(1)>\u2028<!--"


def history(script: Script) -> RunHistory:
    """Return a history with a resource, its limit, and a time in which work was held back."""
    [first, *later] = [script.moment(at) for at in (0, 2, 4, 6)]
    points = [MetricsPoint(at=at, usage={"memory": ResourceUse(60.0, 75.0, 60.0)}) for at in (first, *later)]
    return RunHistory(points_fine=points, bands=[ThrottleBand(reason=NAME, began=first, ended=later[0])])


@pytest.mark.slow
def test_hostile_names_are_shown_as_they_are(script: Scripts, browsed: Browsed, tmp_path: Path) -> None:
    """As text: no element comes of them, in tables, groups, legends or the timeline's words."""
    run = script()
    for at in range(6):
        run.task(at, at + 1, name=NAME, executor=NAME, worker=NAME, key=NAME, fails=NAME if at % 2 else None)
    (tmp_path / "r.html").write_text(html(report(run.source(text=NAME, history=history(run)))), encoding="utf-8")

    def look(page: Any) -> None:  # Any: playwright's page
        assert page.locator("img").count() == 0
        page.locator("details > summary").evaluate_all("all => all.forEach((one) => one.click())")
        shown = page.locator("td.name").all_text_contents()
        assert NAME in shown
        titles = page.locator("section h2").all_inner_texts()
        assert titles == [
            "What it took its time for",
            "Held back",
            "Timeline",
            "At work at once",
            "Throughput",
            "Resources",
            "Stages",
            "Failures",
            "Slowest",
            "Workers",
            "With what",
        ]
        assert page.locator("rect.held").count() == 3 + 4  # in three charts, and in four legends
        page.locator("canvas").hover(position={"x": 300, "y": 5})
        assert NAME in page.locator("#tip").text_content()

    browsed(tmp_path / "r.html", look)


@pytest.mark.slow
def test_many_attempts_are_drawn_in_sums(
    script: Scripts, browsed: Browsed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the page says that they are; it can be looked at more closely, and in the dark."""
    monkeypatch.setattr("longshore._report.gather.BARS_MOST", 5)
    run = script()
    for at in range(20):
        run.task(at, at + 1, key=str(at), fails="no" if at == 7 else None)
    (tmp_path / "r.html").write_text(html(report(run.source())), encoding="utf-8")

    def look(page: Any) -> None:  # Any: playwright's page
        timeline = page.locator("section", has=page.locator("canvas"))
        assert "20 attempts are too many to draw one by one" in timeline.inner_text()
        page.locator("canvas").scroll_into_view_if_needed()
        box = page.locator("canvas").bounding_box()
        page.mouse.move(box["x"] + 200, box["y"] + 5)
        page.mouse.down()
        page.mouse.move(box["x"] + 400, box["y"] + 5)
        page.mouse.up()
        page.mouse.move(box["x"] + 300, box["y"] + 5)
        assert "busy 100 %" in page.locator("#tip").text_content()
        page.get_by_label("dark or light").click()
        assert page.evaluate("document.documentElement.dataset.theme") in ("dark", "light")

    browsed(tmp_path / "r.html", look)


@pytest.mark.slow
def test_two_runs_are_drawn_beside_each_other(script: Scripts, browsed: Browsed, tmp_path: Path) -> None:
    """What newly fails has a table of its own, with names as they are."""
    first, second = script(), script()
    first.task(0, 1, key=NAME)
    second.task(0, 1, key=NAME, fails=NAME)
    sources = (first.source(), second.source())
    made = compare(*((source, report(source)) for source in sources))
    (tmp_path / "c.html").write_text(compared_html(made), encoding="utf-8")

    def look(page: Any) -> None:  # Any: playwright's page
        assert page.locator("section h2").all_inner_texts() == ["In all", "Stages", "Newly failing: 1"]
        assert page.locator("section").last.locator("td.name").first.text_content() == NAME

    browsed(tmp_path / "c.html", look)
