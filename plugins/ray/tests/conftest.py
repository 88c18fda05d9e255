"""What the tests of this plugin share: one Ray cluster on loopback for all of them, and started executors on it."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from longshore.testing import CollectingHost, Rig
from longshore_ray import RayExecutor

PATIENCE_S = 45.0
MakeRig = Callable[..., Awaitable[Rig]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def theirs() -> Iterator[str]:
    """The address of a cluster that this program started by itself: pools use it, and leave it alone."""
    pytest.importorskip("ray", reason="Ray has no wheel for this Python")
    kept = {name: os.environ.get(name) for name in ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_USAGE_STATS_ENABLED")}
    os.environ.update(dict.fromkeys(kept, "0"))  # on loopback, and telling nobody
    import ray

    ray._private.ray_constants.ENABLE_RAY_CLUSTER = False
    ray._private.ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = False  # workers are started as these tests are
    ray.init(
        address="local",
        num_cpus=3,
        resources={"licence": 2},
        object_store_memory=200 << 20,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        logging_level=logging.ERROR,
    )
    for name, value in kept.items():
        if value is None:
            del os.environ[name]
    yield str(ray.get_runtime_context().gcs_address)
    ray.shutdown()


@pytest.fixture
async def start(theirs: str) -> AsyncIterator[MakeRig]:
    """A maker of rigs with so many workers on that cluster; each is stopped at the end."""
    made: list[Rig] = []

    async def make(workers: int, **settings: Any) -> Rig:
        rig = Rig(RayExecutor(RayExecutor.Settings(**settings)), CollectingHost(workers, patience_s=PATIENCE_S))
        made.append(rig)
        await rig.start()
        return rig

    yield make
    for rig in made:
        await rig.stop(8.0)
