"""The last lines that were logged: which are kept, how many, and that nobody else's logging is changed by it."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from typing import Any

import longshore
import pytest
from longshore_dashboard._logs import LINES, LogRing

Serve = Any  # the fixture: test modules cannot import a conftest


@pytest.fixture
def ring() -> Iterator[LogRing]:
    with LogRing() as listening:
        yield listening


def messages(ring: LogRing) -> list[str]:
    return [line.message for line in ring.lines()]


def test_our_lines_and_those_of_tasks_are_kept_once(ring: LogRing) -> None:
    """Ours by their loggers, others' only with a task; each once, though loggers pass them on."""
    logging.getLogger("longshore.pool").warning("ours %d", 1)
    logging.getLogger("longshore").error("ours 2")
    logging.getLogger("longshoreman").error("not ours")
    logging.getLogger("mine").error("nobody's task")
    logging.getLogger("mine").error("a task's", extra={"task_id": "t1"})
    assert messages(ring) == ["ours 1", "ours 2", "a task's"]
    assert [line.task_id for line in ring.lines()] == [None, None, "t1"]


def test_the_newest_are_kept_and_asked_for_by_number_level_and_text(ring: LogRing) -> None:
    """Two thousand lines; a page has five hundred, the newest, or those after a number."""
    logger = logging.getLogger("longshore.x")
    for number in range(LINES + 50):
        logger.log(logging.ERROR if number % 100 == 0 else logging.WARNING, "line %d", number)
    assert ring.count == LINES + 50
    assert messages(ring)[-1] == f"line {LINES + 49}"
    assert len(ring.lines()) == 500
    assert [line.number for line in ring.lines(after=60)][:2] == [61, 62]
    assert {line.level for line in ring.lines(level=logging.ERROR)} == {"ERROR"}
    assert [line.message for line in ring.lines(part="LINE 2042")] == ["line 2042"]


def test_lines_that_cannot_be_made_are_said_to_be_so(ring: LogRing) -> None:
    """What raises when it is shown costs its own line only; long ones are cut, and have their traceback."""

    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError("no")

    def keep(said: str, *args: object) -> None:
        ring.keep(logging.LogRecord("longshore.x", logging.ERROR, __file__, 1, said, args, sys.exc_info()), None)

    keep("%s", Hostile())
    keep("x" * 10_000)
    try:
        raise ValueError("inside")
    except ValueError:
        keep("with a traceback \udce9")
    first, second, third = messages(ring)
    assert first == "a line that cannot be shown: RuntimeError"
    assert len(second) == 2_000
    assert "ValueError: inside" in third
    assert "\\udce9" in third


def test_it_changes_nothing_for_others(capfd: pytest.CaptureFixture[str]) -> None:
    """Warnings that nobody handles are still printed, once; afterwards no handler is left."""
    loggers = (logging.getLogger(), logging.getLogger("longshore"))
    before = [list(logger.handlers) for logger in loggers]
    root = loggers[0].handlers
    loggers[0].handlers = []  # those of the test runner
    try:
        with LogRing():
            for name in ("longshore.x", "mine"):
                logging.getLogger(name).warning("to be seen in %s", name)
                logging.getLogger(name).info("not to be seen")
    finally:
        loggers[0].handlers = root
    assert capfd.readouterr().err == "to be seen in longshore.x\nto be seen in mine\n"
    assert [list(logger.handlers) for logger in loggers] == before


def test_pages_read_them(serve: Serve) -> None:
    """`/api/logs` gives lines and where to go on."""
    client = serve()
    logging.getLogger("longshore.x").warning("first")
    told = client.get("/api/logs").json()
    assert [(line["message"], line["level"]) for line in told["lines"]] == [("first", "WARNING")]
    logging.getLogger("longshore.x").error("second <b>")
    more = client.get(f"/api/logs?after={told['next']}&level=error&q=second").json()
    assert [line["message"] for line in more["lines"]] == ["second <b>"]
    assert client.get(f"/api/logs?after={more['next']}").json() == {"lines": [], "next": more["next"]}


def test_what_a_task_logs_in_a_pool_is_there_with_its_id() -> None:
    """Through a real pool: the line of a task has the task's id."""

    def task() -> None:
        logging.getLogger("mine").warning("from within")

    async def run(ring: LogRing) -> str:
        settings = longshore.Settings(probes=())
        async with longshore.WorkerPool(settings=settings) as pool:
            handle = await pool.options(executor="threads").submit(task)
            await handle
            return handle.task_id

    with LogRing() as ring:
        task_id = asyncio.run(run(ring))
        assert [(line.message, line.task_id) for line in ring.lines(part="within")] == [("from within", task_id)]
