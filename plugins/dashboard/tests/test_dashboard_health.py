"""What probes of health are told, without a token: a status, with `?verbose` which check fails, and nothing else."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from longshore.records import Health
from longshore_dashboard._wellbeing import Wellbeing

Serve = Any  # the fixture: test modules cannot import a conftest
CHECKS = ("running", "loop", "scheduler", "executors", "queue", "journal", "monitor", "sinks")


def health(*failing: str) -> Health:
    found = {name: [f"secret reason of {name}"] for name in failing}
    checks = {name: name not in failing for name in CHECKS}
    return Health(
        healthy=not failing, reasons=[one for each in found.values() for one in each], checks=checks, found=found
    )


@pytest.mark.parametrize(
    ("failing", "livez", "readyz"),
    [
        ((), 200, 200),
        (("loop",), 503, 503),
        (("scheduler",), 503, 503),
        (("journal",), 200, 503),
        (("queue",), 200, 503),
        (("executors",), 200, 503),
        (("sinks",), 200, 200),
    ],
)
@pytest.mark.requirement("req:L03")
def test_codes(serve: Serve, made: Any, failing: tuple[str, ...], livez: int, readyz: int) -> None:
    """Live is a loop that turns and a scheduler that keeps its times, and no more; ready is all that work needs."""
    client = serve(run=made.run_info(health=lambda: health(*failing)))
    alone = {"Authorization": None}
    assert (client.get("/livez", alone).status, client.get("/readyz", alone).status) == (livez, readyz)
    assert client.get("/livez", alone, method="HEAD").status == livez
    assert client.get("/livez", alone).body in (b"ok\n", b"failed\n")


@pytest.mark.slow
def test_verbose_lists_checks_and_no_reasons(serve: Serve, made: Any) -> None:
    """Who has no token is told which check fails, not why; who has one is told on the page."""
    client = serve(run=made.run_info(health=lambda: health("journal")))
    told = client.get("/readyz?verbose", {"Authorization": None})
    assert "[-]journal failed: reason withheld" in told.body.decode()
    assert "[+]loop ok" in told.body.decode()
    assert told.body.endswith(b"readyz check failed\n")
    assert client.get("/livez?verbose").body == b"[+]loop ok\n[+]scheduler ok\nlivez check passed\n"
    for answer in (told, client.get("/api/run", {"Authorization": None})):
        assert b"secret reason" not in answer.raw
    shown = client.get("/api/run").json()["health"]
    assert (shown["reasons"], shown["ready"], shown["live"]) == (["secret reason of journal"], False, True)


def test_verbose_lists_what_decides_and_no_more(serve: Serve, made: Any) -> None:
    """A check that may fail while all is ready, such as that of sinks, is no line beside a verdict that it passed."""
    client = serve(run=made.run_info(health=lambda: health("sinks")))
    told = client.get("/readyz?verbose").body.decode()
    assert told.endswith("\nreadyz check passed\n")
    assert "[-]" not in told


def test_a_run_that_is_over_lives_and_is_not_ready(serve: Serve, made: Any) -> None:
    """Pages of a run that is over are there, and nothing should be sent to it."""
    client = serve(run=made.run_info(summary=made.summary))
    assert (client.get("/livez").status, client.get("/readyz").status) == (200, 503)
    assert client.get("/readyz?verbose").body == b"[-]running failed: the run is over\nreadyz check failed\n"


def test_a_pool_that_cannot_be_asked_is_not_alive(serve: Serve, made: Any) -> None:
    """What raises where health is asked for counts as a loop that does not turn."""

    def broken() -> Health:
        raise RuntimeError("no pool")

    assert serve(run=made.run_info(health=broken)).get("/livez").status == 503


def test_the_pool_is_asked_once_a_second_at_most() -> None:
    """However many probes come at once, the pool looks once."""
    asked, now = [], [10.0]
    barrier = threading.Barrier(8)

    def look() -> Health:
        asked.append(1)
        return health()

    wellbeing = Wellbeing(look, lambda: now[0])

    def ask() -> None:
        barrier.wait(20)
        wellbeing.now()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(asked) == 1
    now[0] += 1.0
    wellbeing.now()
    assert len(asked) == 2
