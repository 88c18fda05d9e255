"""Which devices this process may use: CUDA_VISIBLE_DEVICES and what there is come in, indices go out; pure.

NVML shows every device of the machine whatever that variable says, and a scheduler such as Slurm says by it which of
them are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

VARIABLE = "CUDA_VISIBLE_DEVICES"


def visible(said: str | None, count: int, uuid_of: Callable[[int], str | None]) -> Sequence[int]:
    """Return the indices that `said` leaves of `count` devices, all without it, in ascending order.

    It is read as CUDA reads it: indices, or beginnings of UUIDs that fit one device; the first entry that names none
    ends the list, so "" and "-1" leave none. Instances of a device (MIG-…) are none of the devices here.
    """
    if said is None:
        return range(count)
    uuids: list[str | None] | None = None
    found: set[int] = set()
    for entry in (part.strip() for part in said.split(",")):
        if entry.startswith("GPU-"):
            uuids = [uuid_of(index) for index in range(count)] if uuids is None else uuids
            named = [index for index, uuid in enumerate(uuids) if uuid is not None and uuid.startswith(entry)]
        else:
            named = [int(entry)] if entry.isascii() and entry.isdigit() and int(entry) < count else []
        if len(named) != 1:
            break
        found.update(named)
    return sorted(found)
