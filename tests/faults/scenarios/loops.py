"""B4: cancelling, asyncio's weak references, a loop that is blocked, tasks within tasks, callbacks."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from contextlib import suppress
from pathlib import Path

from longshore import Handle, TaskState
from suite import leaks
from suite.registry import scenario
from suite.tasks import begin_and_hang, echo, nap, swallow
from suite.trial import METHODS, Trial
from suite.yard import Driver, Yard, open_yard

STEPS = 6


@scenario(
    "T3",
    "cancelled at every await, as it ends, and in vain",
    "one outcome each; what ignores it holds nobody up",
    short_s=60.0,
)
async def t3_cancelling(trial: Trial) -> None:
    async with open_yard(trial, async_workers=2) as yard:
        for _ in range(trial.pick(3, 50)):
            for at in range(STEPS + 1):
                await _cancel_at(yard, at)
        await _cancel_in_vain(yard)
    for method in METHODS:
        async with open_yard(trial, method) as yard:
            handle = await yard.pool.options(executor="processes").submit(swallow, 0)
            trial.expect(await _processing(handle), "a task did not begin")
            began = time.monotonic()
            handle.cancel()
            outcome = await handle.outcome()
            trial.worst("cancelled_after_s", time.monotonic() - began)
            trial.expect(outcome.state is TaskState.CANCELLED, f"a process that ignores it is {outcome.state.value}")
            await yard.run(echo, [1, 2, 3])


async def _cancel_at(yard: Yard, at: int) -> None:
    reached = asyncio.Event()

    async def walk() -> str:
        for number in range(STEPS):
            if number == at:
                reached.set()
            await asyncio.sleep(0)
        if at == STEPS:
            reached.set()
        return "whole"

    handle = await yard.pool.submit(walk)
    await reached.wait()
    handle.cancel()
    outcome = await handle.outcome()
    ends = (TaskState.CANCELLED, TaskState.COMPLETED)
    yard.trial.expect(outcome.state in ends, f"cancelled at {at}: {outcome.state.value}")
    yard.trial.add("cancelled" if outcome.state is TaskState.CANCELLED else "came_too_late")


async def _cancel_in_vain(yard: Yard) -> None:
    """A coroutine that goes on though it was cancelled is reported, and its place is another's."""
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()

    handles = [await yard.pool.submit(stubborn) for _ in range(2)]
    await asyncio.sleep(0.05)
    for handle in handles:
        handle.cancel()
    async with asyncio.timeout(15):
        states = [(await handle.outcome()).state.value for handle in handles]
        await yard.run(_echo_async, [*range(10)], executor="asyncio")
    yard.trial.expect(states == ["cancelled"] * 2, f"coroutines that ignore it are {states}")
    yard.trial.add("ignored", len(states))
    release.set()


async def _echo_async(item: int) -> int:
    await asyncio.sleep(0)
    return item


async def _processing(handle: Handle[int]) -> bool:
    for _ in range(2000):
        if handle.state is TaskState.PROCESSING:
            return True
        await asyncio.sleep(0.005)
    return False


async def wander(item: int) -> int:
    """Wait in several ways, some of which nobody else refers to."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()
    loop.call_later(0.0005 * (item % 5), lambda: future.done() or future.set_result(item))
    await asyncio.sleep(0)
    await asyncio.gather(asyncio.sleep(0), asyncio.shield(asyncio.sleep(0.0001)))
    return await future


@scenario("T4", "the garbage collector runs all the time", "no coroutine vanishes: as many complete as were submitted")
async def t4_collector(trial: Trial) -> None:
    with Driver(gc.collect, lambda: 0.0005):
        async with open_yard(trial, async_workers=50) as yard:
            count = trial.pick(500, 5000)
            for isolation in ("task", "shared"):
                await yard.run(wander, [*range(count)], executor="asyncio", isolation=isolation)
            await yard.run(echo, [*range(count)])
            await yard.run(echo, [*range(count)], executor="threads")


@scenario(
    "T5", "a coroutine blocks the loop for 5 s", "it is named; a process's time limit holds meanwhile", short_s=60.0
)
async def t5_blocked_loop(trial: Trial) -> None:
    for method in METHODS:
        async with open_yard(trial, method, worker_heartbeat_interval=0.2) as yard:
            await yard.run(echo, [1, 2])
            mark = trial.folder / f"mark-{method}"
            limit_s, died = 1.0, list[float]()
            hanging = await yard.pool.options(executor="processes", timeout=limit_s).submit(begin_and_hang, str(mark))
            while not (mark.exists() and mark.read_text()):
                await asyncio.sleep(0.01)
            pid, since = int(mark.read_text()), time.monotonic()

            def watch() -> None:
                leaks.wait_for(lambda: not _alive(pid), 10.0)  # noqa: B023 - joined in this round
                died.append(time.monotonic() - since)  # noqa: B023

            watcher = threading.Thread(target=watch)
            watcher.start()
            blocked = await yard.pool.submit(_block, 5.0)
            good = [await yard.pool.options(executor="processes").submit(nap, 0.01) for _ in range(20)]
            trial.expect(await blocked == 5.0, "the coroutine that blocked did not complete")
            watcher.join()
            trial.worst("died_after_s", died[0])
            trial.expect(died[0] < 3.0, f"the process died after {died[0]:.1f} s, and had {limit_s} s")
            trial.expect((await hanging.outcome()).state is TaskState.TIMED_OUT, "the hanging task was not timed out")
            trial.add("bystanders", sum([not (await handle.outcome()).ok for handle in good]))
        events = [json.loads(line) for line in yard.events_path.read_bytes().splitlines()]
        named = [event for event in events if event["type"] == "worker_blocked" and event["name"] == "_block"]
        trial.expect(named, "nobody was told who blocked the loop")
        dead = [e for e in events if e["type"] == "worker_error" and e.get("killed_for") != "timeout"]
        trial.expect(not dead, f"{len(dead)} workers were taken for dead")


async def _block(for_s: float) -> float:
    time.sleep(for_s)
    return for_s


def _alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


@scenario("T6", "tasks that submit to their own pool and wait", "refused, or helped; no deadlock")
async def t6_nested(trial: Trial) -> None:
    for executor in ("asyncio", "threads"):
        async with open_yard(trial, async_workers=2, thread_workers=2) as yard:
            pool, count = yard.pool, 6

            async def parent_async(item: int) -> int:
                return int(await (await pool.submit(_echo_async, item)))  # noqa: B023 - it is over in this round

            def parent(item: int) -> int:
                return int(pool.options(executor="threads").submit_threadsafe(echo, item).result())  # noqa: B023

            function = parent_async if executor == "asyncio" else parent
            try:
                async with asyncio.timeout(10):
                    outcomes = await yard.run(function, [*range(count)], executor=executor, bad=range(count))
            except TimeoutError:
                trial.add("hung")
                trial.expect(False, f"{executor}: tasks that wait for their own pool wait for ever")
                continue
            trial.tell(f"{executor}_helped", sum(outcome.ok for outcome in outcomes))
            refused = [outcome.error.type.rpartition(".")[2] for outcome in outcomes if outcome.error]
            trial.tell(f"{executor}_refused", ", ".join(sorted(set(refused))) or 0)


@scenario("T7", "callbacks and subscribers that raise, exit, submit", "it is reported, and the pool goes on")
async def t7_callbacks(trial: Trial) -> None:
    async with open_yard(trial) as yard:
        submitted, pool = list[Handle[int]](), yard.pool

        def raising(_: object) -> None:
            raise LookupError("a subscriber's own")

        def exiting(_: object) -> None:
            raise SystemExit(3)

        def submitting(event: object) -> None:
            if len(submitted) < 5:
                submitted.append(pool.submit_nowait(echo, 1))

        for handler in (raising, exiting, submitting):
            pool.events.subscribe(handler, ["task_completed"])
        for executor in ("processes", "threads"):
            await yard.run(echo, [*range(20)], executor=executor)
            futures = await asyncio.to_thread(_with_callbacks, yard, executor)
            values = await asyncio.gather(*map(asyncio.wrap_future, futures))
            trial.expect(values == [*range(10)], f"futures with bad callbacks gave {values}")


def _with_callbacks(yard: Yard, executor: str) -> list[object]:
    def fail(_: object) -> None:
        raise LookupError("a callback's own")

    futures = [yard.pool.options(executor=executor).submit_threadsafe(echo, item) for item in range(10)]
    for future in futures:
        future.add_done_callback(fail)
    return futures


@scenario(
    "T8",
    "a thread that goes on past its time limit",
    "reported at once, and counted; others take its place, up to a cap",
)
async def t8_threads(trial: Trial) -> None:
    release = threading.Event()

    def hang(item: int) -> int:
        if item < 0:
            release.wait(60)
        return item

    try:
        async with open_yard(trial, thread_workers=2) as yard:
            bad = trial.pick(6, 24)
            items = [-1] * bad + [*range(20)]
            outcomes = await yard.run(hang, items, executor="threads", timeout=0.1, bad=range(bad))
            states = {outcome.state for outcome in outcomes[:bad]}
            trial.expect(states == {TaskState.TIMED_OUT}, f"threads past their limit are {states}")
            said = outcomes[0].error.message if outcomes[0].error else ""
            trial.expect("thread" in said, f"the outcome does not say what became of the thread: {said}")
            trial.add(
                "abandoned", sum(thread.is_alive() for thread in threading.enumerate() if "longshore" in thread.name)
            )
            release.set()
    finally:
        release.set()
