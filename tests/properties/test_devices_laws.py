"""Laws of lending GPUs, over any history of loans, ends and measurements."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from longshore._engine.devices import Devices
from longshore.records import Device

TOTAL_MB = 1000.0
AMOUNTS = st.sampled_from(
    [
        {"gpu": 1.0},
        {"gpu": 2.0},
        {"gpu": 0.5},
        {"gpu": 1 / 3},
        {"gpu": 0.1, "gpu_memory": 300.0},
        {"gpu": 1.0, "gpu_memory": 900.0},
        {"gpu_memory": 200.0},
        {"cpu": 1.0},
    ]
)
USED = st.integers(0, 10).map(lambda tenth: tenth * TOTAL_MB / 10)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("start"), AMOUNTS),
        st.tuples(st.just("end"), st.integers(0, 50)),
        st.tuples(st.just("measure"), st.dictionaries(st.integers(0, 2), USED)),
    ),
    max_size=40,
)


class Yard:
    """Some devices, and who has what of them by what was told."""

    def __init__(self) -> None:
        self.devices = Devices()
        self.devices.measure(dict.fromkeys(range(3), Device(0.0, TOTAL_MB)))
        self.running: dict[str, tuple[dict[str, float], tuple[int, ...]]] = {}
        self.count = 0

    def start(self, amounts: dict[str, float]) -> None:
        if self.devices.lacks(amounts) is not None:
            return
        self.count += 1
        gpus = self.devices.lend(str(self.count), amounts)
        self.running[str(self.count)] = amounts, gpus
        asked = "gpu" in amounts or "gpu_memory" in amounts
        assert len(gpus) == (max(1, round(amounts.get("gpu", 0.0))) if asked else 0)
        assert list(gpus) == sorted(set(gpus))
        self.check()

    def end(self, which: int) -> None:
        if self.running:
            task_id = sorted(self.running)[which % len(self.running)]
            del self.running[task_id]
            self.devices.take_back(task_id)

    def measure(self, used: dict[int, float]) -> None:
        self.devices.measure({index: Device(mb, TOTAL_MB) for index, mb in used.items()})

    def check(self) -> None:
        for index in range(3):
            here = [amounts for amounts, gpus in self.running.values() if index in gpus]
            shares = [min(1.0, amounts.get("gpu", 0.0)) for amounts in here]
            assert sum(shares) <= 1.0 + 1e-6
            assert len(here) == 1 or 1.0 not in shares
            declared_mb = [a["gpu_memory"] / max(1, round(a.get("gpu", 0.0))) for a in here if "gpu_memory" in a]
            assert sum(declared_mb) <= TOTAL_MB + 1.0


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_no_device_is_lent_twice(steps: list[tuple[str, object]]) -> None:
    """Whole devices are one task's, parts make up one device, declared memory no more than it has."""
    yard = Yard()
    for what, value in steps:
        getattr(yard, what)(value)
    for task_id in yard.running:
        yard.devices.take_back(task_id)
    yard.devices.measure(dict.fromkeys(range(3), Device(0.0, TOTAL_MB)))
    assert yard.devices.lend("all", {"gpu": 3.0, "gpu_memory": 3 * TOTAL_MB}) == (0, 1, 2)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(USED, st.sampled_from([50.0, 300.0])), min_size=1, max_size=20))
def test_what_is_lent_was_measured_free(history: list[tuple[float, float]]) -> None:
    """Nothing starts where what it declared is more than what is free by the last reading; nothing ever ends here."""
    devices = Devices()
    devices.measure({0: Device(history[0][0], TOTAL_MB)})
    for number, (used_mb, wanted_mb) in enumerate(history):
        devices.measure({0: Device(used_mb, TOTAL_MB)})
        amounts = {"gpu": 0.01, "gpu_memory": wanted_mb}
        if devices.lacks(amounts) is None:
            assert used_mb + wanted_mb <= TOTAL_MB + 1.0
            devices.lend(str(number), amounts)
