"""Which GPU a document gets, what happens without one, and that on CPUs it is a processor like any other."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from example_gpu_stage import EmbedProcessor
from example_gpu_stage._backend import NoGpu, on_gpu
from longshore import Pipeline, ResourceMonitor, ResourceUnavailable, Settings, Stage, WorkerConfig, WorkerPool
from longshore.hookspecs import Processor
from longshore.processor import ProcessorContext
from longshore.records import Reading, Usage
from longshore.testing import ProcessorConformance, ScriptedProbe

CPU = {"EXAMPLE_GPU_STAGE_CPU": "1"}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Return a document of two words."""
    path = tmp_path / "quay.txt"
    path.write_text("crane crate", encoding="utf-8")
    return path


class TestEmbedOnCpus(ProcessorConformance):
    """It keeps what every processor keeps."""

    @pytest.fixture
    def make_processor(self) -> Callable[[], Processor]:
        return lambda: EmbedProcessor(CPU)

    @pytest.fixture
    def good_contexts(self, text: Path) -> Sequence[ProcessorContext]:
        before = {"extract": {"text": "crane crate"}}
        return [
            ProcessorContext(document_id="file", file_path=str(text)),
            ProcessorContext(document_id="staged", previous_results=before),
        ]

    @pytest.fixture
    def bad_contexts(self, tmp_path: Path) -> Sequence[ProcessorContext]:
        (tmp_path / "empty.txt").touch()
        return [ProcessorContext(document_id="empty", file_path=str(tmp_path / "empty.txt"))]


def test_it_asks_for_a_gpu_unless_cpus_are_chosen() -> None:
    """What the pool acts on is in the metadata."""
    assert (EmbedProcessor({}).metadata.requires_gpu, EmbedProcessor({}).metadata.executor) == (True, "processes")
    assert (EmbedProcessor(CPU).metadata.requires_gpu, EmbedProcessor(CPU).metadata.is_cpu_intensive) == (False, True)


def test_without_a_gpu_it_refuses_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU lent, another one seen, no library: each is said, with what to do."""
    with pytest.raises(NoGpu, match=r"lent this task no GPU.*EXAMPLE_GPU_STAGE_CPU=1"):
        on_gpu(())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(NoGpu, match="sees the devices '0,1', and was lent"):
        on_gpu((1,))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(NoGpu, match="cupy is not installed"):
        on_gpu((1,))


@pytest.mark.parametrize("devices", [0, 1])
def test_the_library_is_used_where_it_finds_the_device(monkeypatch: pytest.MonkeyPatch, devices: int) -> None:
    """A library that is installed is not enough: the driver has to see the device."""
    cupy = types.ModuleType("cupy")
    runtime = types.SimpleNamespace(getDeviceCount=lambda: devices)
    monkeypatch.setattr(cupy, "cuda", types.SimpleNamespace(runtime=runtime), raising=False)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    if devices:
        assert on_gpu((1,)) is cupy
    else:
        with pytest.raises(NoGpu, match="finds no device"):
            on_gpu((1,))


@pytest.mark.anyio
async def test_a_pool_lends_a_gpu_and_the_worker_sees_no_other(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without CUDA what is missing is the library or the driver: what is lent is checked before them."""
    monkeypatch.delenv("EXAMPLE_GPU_STAGE_CPU", raising=False)
    usage = {f"gpu.{n}": Usage(0.0, 100.0) for n in range(2)} | {f"gpu_memory.{n}": Usage(0.0, 8e3) for n in range(2)}
    probe = ScriptedProbe([Reading(datetime.now(UTC), usage)], resources=["gpu", "gpu_memory"])
    monitor = ResourceMonitor(None, 0.01, [probe])
    async with WorkerPool(
        WorkerConfig(process_workers=1), resource_monitor=monitor, settings=Settings(probes=())
    ) as pool:
        task_id = await pool.submit_task("embed", ProcessorContext(document_id="quay", file_path=str(text)))
        try:
            said = (await pool.get_task_result(task_id, timeout=50)).metadata["device"]
        except NoGpu as error:
            said = str(error)
        assert re.match("gpu|cupy is not installed|CUDA", said), said


@pytest.mark.anyio
async def test_where_there_is_no_gpu_the_run_ends_before_any_document(
    text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No document could ever pass, so that none is taken: the run has failed, and says why."""
    monkeypatch.delenv("EXAMPLE_GPU_STAGE_CPU", raising=False)
    pool = WorkerPool(WorkerConfig(process_workers=1), settings=Settings(probes=()))
    pipeline = Pipeline("embedded", [Stage("embed", "embed")])
    document = ProcessorContext(document_id="quay", file_path=str(text))
    with pytest.raises(ResourceUnavailable, match="more than there can ever be"):
        async with pool, pool.run_pipeline(pipeline, [document]) as results:
            pytest.fail(f"a document was taken: {[result async for result in results]}")
    assert pool.summary is not None
    assert (pool.summary.state, pool.summary.snapshot.submitted) == ("failed", 0)
