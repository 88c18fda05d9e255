"""Which GPUs a task sees: their numbers come in with its batch, CUDA's variables go out.

Used by `child.py` only, inside a worker process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

VISIBLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"


@contextmanager
def visible(gpus: Sequence[int] | None) -> Iterator[None]:
    """Have CUDA see these devices only, or none, in the worker that runs this; None leaves it what it sees."""
    if gpus is None:
        yield
        return
    wanted = {VISIBLE: ",".join(map(str, gpus)), ORDER: "PCI_BUS_ID"}  # the order that their numbers are in
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
