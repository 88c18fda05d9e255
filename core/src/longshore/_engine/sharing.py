"""How many of its workers each executor may use while all together may not be used at once.

An executor that holds no more than it may run needs no word; one that was given short tasks ahead does, or it would run
them on all its workers. One that was given nothing ahead is given one task at a time, in turn with the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from longshore._engine.messages import Limit
from longshore._engine.place import Place
from longshore._engine.site import Site
from longshore.task import Attempt


def share_out_sites(sites: Iterable[Site], most: int) -> list[Limit]:
    """Share `most` out among sites, as much for each as it may run itself, and there among its executors."""
    changed: list[Limit] = []
    in_turn = sorted(sites, key=lambda site: min(site.cap, site.wants()))
    for others, site in zip(range(len(in_turn), 0, -1), in_turn, strict=True):
        part = min(site.cap, site.wants(), -(-most // others))
        most -= part
        changed += share_out(site.places, part)
    return changed


def share_out(places: Iterable[Place], cap: int) -> list[Limit]:
    """Share `cap` out among the executors that hold something; return what has changed for those that can be told.

    Who could use least is served first, so that each gets an equal part or all it wants, and nothing that is held
    waits for ever: an executor is given nothing new while another holds what it may not run.
    """
    changed: list[Limit] = []
    in_turn = sorted(places, key=Place.wants)
    for others, place in zip(range(len(in_turn), 0, -1), in_turn, strict=True):
        wanted = place.wants()
        part = min(wanted, -(-cap // others))
        cap -= part
        most = part + place.waiting
        needless = most >= place.slots or (part >= wanted and place.held <= place.slots)
        limit = None if needless else most
        if place.limits and limit != place.limit:
            place.limit = limit
            changed.append(Limit(place.name, limit))
    return changed


def one_by_one(
    places: list[Place], now: float, fill: Callable[[Place], list[Sequence[Attempt]]]
) -> Iterator[tuple[str, list[Attempt]]]:
    """Choose one by one, best first over all places, or the first of them would take all that the cap leaves.

    `fill` takes one attempt of a place, if it can.
    """
    chosen: dict[str, list[Attempt]] = {place.name: [] for place in places}
    while places:
        place = min(places, key=lambda place: place.best(now))
        parts = fill(place)
        chosen[place.name] += chain.from_iterable(parts)
        if not parts:
            places.remove(place)
    for name, attempts in chosen.items():
        if attempts:
            yield name, attempts
