"""B7: who follows a run and reads nothing, who asks what may not be asked, and names that would be markup."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager

from suite.browsers import Answer, Door, answer_on, door, free_port
from suite.leaks import wait_for
from suite.registry import scenario
from suite.tasks import echo
from suite.trial import Trial
from suite.yard import Yard, open_yard

FOLLOWERS = 32
RSS_MOST_MB = 64.0
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><svg/onload=alert(1)>",
    "x\n\nevent: snapshot\ndata: {}\n\n",
    "\u202etxt.exe",
    "a\x00b\x1b[31m\r",
    "caf\udce9.pdf",
    "{{7*7}}${7*7}",
    "x" * 5000,
)


@asynccontextmanager
async def watched(trial: Trial, **settings: object) -> AsyncIterator[tuple[Yard, Door]]:
    """Open a pool that shows itself."""
    port = free_port()
    table = {"port": port, "token_file": str(trial.folder / "token"), "announce": False, **settings}
    async with open_yard(trial, sinks={"dashboard": table}) as yard:
        there = await asyncio.to_thread(wait_for, (trial.folder / "token").exists, 10.0)
        trial.expect(there, "the dashboard did not begin")
        yield yard, door(trial.folder, port)


@scenario(
    "E3",
    "1,000 pages follow a run and read nothing",
    "32 are served, the others told to come later; no task waits, memory is bounded",
)
async def e3_slow_followers(trial: Trial) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    try:
        async with watched(trial) as (yard, at):
            await yard.run(echo, range(200), executor="threads")
            before = _rss_mb()
            with ExitStack() as opened:
                held = [opened.enter_context(at.connect()) for _ in range(FOLLOWERS)]
                for connection in held:
                    connection.sendall(at.head("GET", "/api/events"))
                served = await asyncio.to_thread(_first_words, held)
                later = await asyncio.to_thread(_come_later, at, opened, trial.pick(200, 1000) - FOLLOWERS)
                trial.tell("served", served["200"])
                trial.tell("told_to_come_later", later["503"])
                trial.expect(served["200"] == FOLLOWERS, f"not all were served: {dict(served)}")
                trial.expect(set(later) <= {"503", "0"} and later["503"], f"others were told {dict(later)}")
                for _ in range(trial.pick(1, 8)):  # no more at once than the sink whose events are judged can take
                    await yard.run(echo, range(2000), executor="threads")
                    await asyncio.sleep(0.5)
                trial.worst("grown_mb", _rss_mb() - before)
                trial.expect(_rss_mb() - before < RSS_MOST_MB, "memory grew with those who read nothing")
            gone = await asyncio.to_thread(wait_for, lambda: at.ask("GET", "/api/run").status == 200, 10.0)
            trial.expect(gone, "there was no room when they had gone")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _first_words(held: Sequence[socket.socket]) -> Counter[str]:
    return Counter(connection.recv(12).decode("latin-1").rpartition(" ")[2] for connection in held)


def _come_later(at: Door, opened: ExitStack, count: int) -> Counter[str]:
    """Let so many more ask, and stay connected; "0" is who was not even heard."""
    told: Counter[str] = Counter()
    for _ in range(count):
        connection = opened.enter_context(at.connect())
        try:
            connection.sendall(at.head("GET", "/api/events"))
        except OSError:
            told["0"] += 1
            continue
        told[str(answer_on(connection).status)] += 1
    return told


def _rss_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


@scenario(
    "E4",
    "other hosts, origins, methods, paths, tokens; headers and bodies without end; a byte now and then",
    "each is refused and logged once, and nothing has changed",
)
async def e4_requests(trial: Trial) -> None:
    heard = _Heard()
    logging.getLogger("longshore.dashboard").addHandler(heard)
    try:
        async with watched(trial, control=True) as (yard, at):
            for what, request, statuses in _requests(at):
                already = heard.count
                answer = await asyncio.to_thread(at.send, request)
                trial.add("requests")
                trial.expect(answer.status in statuses, f"{what} was answered with {answer.status}")
                trial.expect("access-control" not in answer.head.lower(), f"{what} was let read by others")
                trial.expect(at.token.encode() not in answer.body, f"{what} was told the token")
                if answer.status != 404:
                    trial.expect(heard.count == already + 1, f"{what} was logged {heard.count - already} times")
            if trial.long:
                await asyncio.to_thread(_without_end, trial, at)
            trial.expect(at.token not in heard.text, "the token was logged")
            head = await asyncio.to_thread(at.ask, "GET", "/api/run")
            trial.expect(head.status == 200, "who has the token is not answered any more")
            await yard.run(echo, range(100), executor="threads")  # which a pool that was paused would not do
    finally:
        logging.getLogger("longshore.dashboard").removeHandler(heard)


class _Heard(logging.Handler):
    """Counts what the dashboard logs."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.text = 0, ""

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1
        self.text += record.getMessage()


def _requests(at: Door) -> Sequence[tuple[str, bytes, tuple[int, ...]]]:
    """Return what is asked, and how it may be answered."""
    order = {"Content-Type": "application/json", "X-Longshore": "1", "Content-Length": "2"}
    pause = "/api/control/pause"
    chunked = {**order, "Content-Length": None, "Transfer-Encoding": "chunked"}
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (70_000, b" " * 70_000)
    return [
        ("another host", at.head("GET", "/api/run", {"Host": "evil.example"}), (403,)),
        ("another port", at.head("GET", "/livez", {"Host": "127.0.0.1:1"}), (403,)),
        ("another origin", at.head("GET", "/api/run", {"Origin": "http://evil.example"}), (403,)),
        ("a page of another site", at.head("GET", "/", {"Sec-Fetch-Site": "cross-site"}), (403,)),
        *[(f"the method {name}", at.head(name, "/api/run"), (405,)) for name in ("DELETE", "PUT", "PATCH", "BREW")],
        ("an order by GET", at.head("GET", pause), (405,)),
        ("an order of a form", at.head("POST", pause, {**order, "Content-Type": "text/plain"}) + b"{}", (415,)),
        ("an order without the header", at.head("POST", pause, {**order, "X-Longshore": None}) + b"{}", (403,)),
        ("an order from elsewhere", at.head("POST", pause, {**order, "Origin": "null"}) + b"{}", (403,)),
        ("an order that there is none", at.head("POST", "/api/control/run", order) + b"{}", (405,)),
        ("no token", at.head("GET", "/api/run", {"Authorization": None}), (401,)),
        ("no token for events", at.head("GET", "/api/events", {"Authorization": None}), (401,)),
        ("a wrong token", at.head("GET", "/api/run", {"Authorization": f"Bearer {at.token[:-1]}"}), (401,)),
        ("a path upwards", at.head("GET", "/../../etc/passwd"), (404,)),
        ("a path upwards, quoted", at.head("GET", "/assets/%2e%2e/%2e%2e/etc/passwd"), (404,)),
        ("a long header", at.head("GET", "/api/run", {"X-Long": "a" * 20_000}), (400, 431)),
        ("a long path", at.head("GET", f"/api/run?{'a' * 20_000}"), (400, 431)),
        ("a long body", at.head("POST", pause, {**order, "Content-Length": "70000"}), (413,)),
        ("a long body in chunks", at.head("POST", pause, chunked) + body, (413,)),
        ("a body of a GET", at.head("GET", "/api/run", {"Content-Length": "9"}), (400,)),
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", (400,)),
    ]


def _without_end(trial: Trial, at: Door) -> None:
    """Send a header of a gigabyte, and connections that say a byte now and then."""
    sent, began = 0, time.monotonic()
    with at.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-Long: ")
        try:
            while sent < 1 << 30:
                sent += connection.send(b"a" * 65536)
        except OSError:
            pass
    trial.tell("of_a_gigabyte_taken_mb", round(sent / 1e6, 1))
    trial.expect(sent < 1 << 25, "a header without end was taken")
    with ExitStack() as opened:
        slow = [opened.enter_context(at.connect()) for _ in range(60)]
        while slow and time.monotonic() - began < 30.0:
            slow = [connection for connection in slow if _says_a_byte(connection)]
            time.sleep(0.2)
        trial.tell("slowest_ended_after_s", round(time.monotonic() - began, 1))
        trial.expect(not slow, f"{len(slow)} connections were held open by a byte now and then")


def _says_a_byte(connection: socket.socket) -> bool:
    try:
        connection.sendall(b"a")
    except OSError:
        return False
    return True


@scenario(
    "E5",
    "names, keys and exceptions that would be markup, events or no UTF-8",
    "they are data on every page and in the events, and break none",
)
async def e5_hostile_names(trial: Trial) -> None:
    async with watched(trial) as (yard, at):
        for number, text in enumerate(HOSTILE):
            await yard.run(_raise, [text], bad=[0], executor="threads", key=f"{number}{text}"[:900])
            await yard.run(echo, [number], executor="threads", key=f"{number}{text}"[:900])
        await asyncio.to_thread(_pages, trial, at)


def _raise(text: str) -> None:
    raise ValueError(text)


def _pages(trial: Trial, at: Door) -> None:
    shown = wait_for(lambda: at.ask("GET", "/api/tasks").json()["total"] == 2 * len(HOSTILE), 10.0)
    trial.expect(shown, "not all tasks are shown")
    ids = [row["task_id"] for row in at.ask("GET", "/api/tasks").json()["rows"]]
    for path in (
        "/api/run",
        "/api/overview",
        "/api/tasks",
        "/api/failures",
        "/api/logs",
        *(f"/api/tasks/{one}" for one in ids),
    ):
        answer = at.ask("GET", path)
        trial.add("pages")
        trial.expect(answer.status == 200 and _is_data(answer), f"{path} is not data: {answer.head[:80]}")
    with at.connect() as connection:
        connection.sendall(at.head("GET", "/api/events"))
        events = b""
        while b"\n\n" not in events.partition(b"data: ")[2] and (part := connection.recv(1 << 20)):
            events += part
    begun = [line for line in events.split(b"\n") if line.startswith((b"event:", b"id:"))]
    trial.expect(begun[:2] == [b"id: 0", b"event: snapshot"], f"events begin with {begun[:2]!r}")
    trial.expect(begun.count(b"event: snapshot") == 1, "a task has made up an event")


def _is_data(answer: Answer) -> bool:
    head = answer.head.lower()
    answer.json()
    return "content-type: application/json" in head and "nosniff" in head and "default-src 'none'" in head
