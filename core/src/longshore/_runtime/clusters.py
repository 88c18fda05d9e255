"""What is measured of the clusters of executors whose workers are elsewhere: a probe of each executor's, read here.

The monitor is for this machine, and may be shared; these readings are for the one pool that has the executors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from longshore._runtime.probing import Probing
from longshore.hookspecs import Executor, Probe
from longshore.records import Usage


class Clusters:
    """The clusters of one run, by executor. Its questions may come from any thread."""

    def __init__(self) -> None:
        """Measure none yet."""
        self._probing: dict[str, Probing] = {}
        self.told: Callable[[str, Mapping[str, Usage], float], None] = lambda name, usage, valid_s: None
        """Called on a probe's thread with what it read of whose cluster, and for how many seconds that counts."""

    def measure(self, name: str, probe: Probe) -> None:
        """Begin to measure the cluster of the executor of this name."""
        probing = Probing(
            {f"cluster of {name}": probe}, tuple, told=lambda _: self.told(name, probing.usage(), probing.valid_s)
        )
        self._probing[name] = probing
        probing.start()

    def stop(self) -> None:
        """Measure no more; a probe that is inside a reading is left to itself."""
        for probing in self._probing.values():
            probing.stop()

    def usage(self) -> dict[str, dict[str, Usage]]:
        """Return what was read of each."""
        return {name: probing.usage() for name, probing in list(self._probing.items())}

    def notes(self) -> Sequence[str]:
        """Return a line for people on each whose readings failed."""
        return [
            f"measuring the cluster of {name} failed {probing.errors} times; the last: {probing.last_error}"
            for name, probing in list(self._probing.items())
            if probing.errors
        ]


def cluster_of(executor: Executor) -> Probe | None:
    """Return what measures the machines of an executor's workers, None where that is this one."""
    ask: Callable[[], Probe | None] | None = getattr(executor, "cluster", None)
    return ask() if ask is not None else None
