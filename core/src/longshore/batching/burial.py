"""What becomes of the batches of a worker that was lost.

Everything runs on the loop of the executor's own thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from longshore.batching.crew import Held, Station
from longshore.batching.dispatcher import Dispatcher
from longshore.batching.outcomes import split_at_death, worker_died
from longshore.batching.words import End, Record
from longshore.hookspecs import WorkerNotice
from longshore.task import Attempt

Evidence = dict[int, list[Record] | None]
"""What a lost worker had written down, by the number of its batch; None for one that it had not begun."""


def plain_evidence(answer: object) -> Evidence | None:
    """Return what a reader of `spool.read` answered, as records again; None where it is nothing of the kind."""
    if not isinstance(answer, dict):
        return None
    return {
        number: None if records is None else [Record(*one) for one in records] for number, records in answer.items()
    }


def take_off(dispatcher: Dispatcher, address: str) -> tuple[Station, list[Held]] | None:
    """Take a lost worker off, and return it with the batches it had; None for one that is not known."""
    station = dispatcher.crew.stations.pop(address, None)
    if station is None:
        return None
    dispatcher.host.resized(dispatcher.crew.slots())
    for held in station.batches.values():
        held.lost = True
    return station, list(station.batches.values())


def bury(
    dispatcher: Dispatcher, station: Station, batches: Sequence[Held], evidence: Evidence | None, end: End
) -> list[str]:
    """Report what had ended, and the attempt that ran; have the others run elsewhere, its batch mates one by one.

    Returns the tasks that were running, or may have been.
    """
    blamed: list[str] = []
    for held in reversed(batches):  # what waits first goes back last, to the front
        if held.number not in station.batches:
            continue
        dispatcher.drop(held)
        if evidence is None:
            died = [one for one in held.attempts if one.task_id not in held.told]
            _report(dispatcher, held, died, end, sure=False)
            blamed += [one.task_id for one in died]
            continue
        records = evidence.get(held.number)
        if records is None:
            dispatcher.put_back(held, held.attempts)
            continue
        done, ran, rest = split_at_death(held.attempts, records)
        dispatcher.report_records(held, done, held.given_at)
        dispatcher.put_back(held, rest, alone=True)
        if ran is not None and ran.task_id not in held.told:
            blamed.append(ran.task_id)
            _report(dispatcher, held, [ran], end, sure=True)
    if batches:
        dispatcher.give()
    return blamed


def tell_of_loss(dispatcher: Dispatcher, station: Station, blamed: Sequence[str], end: End) -> None:
    """Tell the pool that a worker was lost, and what it ran."""
    data = {
        "worker_id": station.worker_id,
        "error": f"the {dispatcher.system.title} cluster lost a worker" + (f": {end.why}" if end.why else ""),
        "task_id": blamed[0] if len(blamed) == 1 else None,
        "pid": station.hello.pid,
    }
    dispatcher.host.notice([WorkerNotice("worker_error", data)])


def _report(dispatcher: Dispatcher, held: Held, attempts: Sequence[Attempt], end: End, *, sure: bool) -> None:
    now, worker_id = monotonic(), held.station.worker_id
    died = [worker_died(one, worker_id, held.given_at, now, end, dispatcher.system, sure=sure) for one in attempts]
    if died:
        dispatcher.host.report(died)


__all__ = ["Evidence", "bury", "plain_evidence", "take_off", "tell_of_loss"]
