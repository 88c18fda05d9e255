"""The one connection to Ray that a process has: made by the first pool, or by the program itself, and then left alone.

From any thread; connecting takes seconds and blocks.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

from longshore_ray.words import is_unauthenticated, unanswered, wants_token

T = TypeVar("T")
_log = logging.getLogger("longshore.ray")
_lock: Final = threading.Lock()
_LOOPBACK: Final = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # "0" has Ray use 127.0.0.1, as it does on Windows and macOS


class _Uses:
    """How many pools use the connection, and whether it is ours to end."""

    count = 0
    ours = False
    local = False
    over = threading.Event()
    """Set when the connection has ended."""


async def aside(call: Callable[[], T]) -> T:
    """Return what a call of Ray's gives, made on a thread that keeps no process from its exit.

    A call that waits for a head which is gone waits for a minute, and then Ray ends the process.
    """
    given: Future[T] = Future()

    def work() -> None:
        with suppress(InvalidStateError):  # nobody waits any more
            try:
                given.set_result(call())
            except Exception as error:  # noqa: BLE001 - whatever Ray raises belongs to whoever waits
                given.set_exception(error)

    threading.Thread(target=work, name="longshore-ray-call", daemon=True).start()
    return await asyncio.wrap_future(given)


async def opened(
    address: str | None, within_s: float, *, cpus: int, object_store_mb: int | None, namespace: str
) -> bool:
    """Connect as `connect` does, `within_s` to a cluster that runs; RuntimeError where it does not answer in time.

    Ray itself would wait without end. What it does then is left to a thread that keeps no process from its exit, and
    a connection that is made too late, or after this was cancelled, is let go.
    """
    local: Future[bool] = Future()

    def work() -> None:
        try:
            made = connect(address, within_s, cpus=cpus, object_store_mb=object_store_mb, namespace=namespace)
        except BaseException as error:  # noqa: BLE001 - whatever Ray raises belongs to whoever waits
            with suppress(InvalidStateError):
                local.set_exception(error)
            return
        over = _Uses.over
        try:
            local.set_result(made)
        except InvalidStateError:
            disconnect()
        if made:  # on Linux what Ray has started is killed with the thread that started it
            over.wait()

    threading.Thread(target=work, name="longshore-ray-connect", daemon=True).start()
    try:
        async with asyncio.timeout(None if address is None else within_s):
            return await asyncio.wrap_future(local)
    except TimeoutError as error:
        why = f"Ray had no connection after {within_s:g} s"
        raise RuntimeError(unanswered(str(address), why)) from error


def connect(address: str | None, within_s: float, *, cpus: int, object_store_mb: int | None, namespace: str) -> bool:
    """Connect to the cluster at `address`, or start one on loopback; returns whether it is a local one of ours.

    A connection that the program has is used as it is, unless it leads elsewhere: RuntimeError then, and where nothing
    answers.
    """
    with _lock:
        import ray  # seconds of work, and only for those who use it

        if ray.is_initialized():
            _refuse_other(address, ray.get_runtime_context().gcs_address)
            if not _Uses.count:
                _Uses.ours = _Uses.local = False
        else:
            _Uses.count = 0
            _knock(address, within_s)
            _start(ray, address, cpus, object_store_mb, namespace)
            _Uses.ours, _Uses.local = True, address is None
        _Uses.count += 1
        return _Uses.local


def disconnect() -> None:
    """Let go of the connection; the last pool ends it, if a pool made it."""
    with _lock:
        import ray

        _Uses.count = max(0, _Uses.count - 1)
        if not _Uses.count and _Uses.ours:
            _Uses.ours = _Uses.local = False
            ray.shutdown()
            _Uses.over.set()
            _Uses.over = threading.Event()


def _refuse_other(address: str | None, here: str) -> None:
    if address not in (None, "auto", here):
        raise RuntimeError(
            f"this program is connected to the Ray cluster at {here}, and executors.ray.address is {address}: a "
            "process has one connection to Ray; leave the address out to use that one"
        )


def _knock(address: str | None, within_s: float) -> None:
    """Look whether anything listens at a HOST:PORT; RuntimeError if not."""
    if address in (None, "auto"):
        return
    host, _, port = str(address).rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=within_s).close()
    except OSError as error:
        raise RuntimeError(unanswered(str(address), str(error))) from error


def _start(ray: Any, address: str | None, cpus: int, object_store_mb: int | None, namespace: str) -> None:
    # Any: the module, whose private parts carry no types
    options: dict[str, Any] = {  # Any: as Ray has them
        "address": address or "local",
        "namespace": namespace,
        "log_to_driver": False,
        "configure_logging": False,
        "logging_level": logging.ERROR,
    }
    if address is None:
        options["include_dashboard"], options["num_cpus"] = False, cpus
        if object_store_mb is not None:
            options["object_store_memory"] = object_store_mb << 20
    try:
        with _quiet(), _on_loopback(ray, address is None):
            ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        if address is None:
            raise RuntimeError(f"no Ray cluster could be started on this machine: {error}") from error
        raise RuntimeError(
            wants_token(address) if is_unauthenticated(error) else unanswered(address, str(error))
        ) from error
    _log_what_is_printed(ray)


@contextmanager
def _on_loopback(ray: Any, local: bool) -> Iterator[None]:  # Any: as above
    """Have a local cluster listen on 127.0.0.1 only, send no statistics of its use, and run this interpreter.

    Under `uv run` Ray would copy the working folder, and start each worker by another `uv run` in the copy.
    """
    constants = ray._private.ray_constants
    kept = {name: os.environ.get(name) for name in (_LOOPBACK, "RAY_USAGE_STATS_ENABLED")}
    was = {name: getattr(constants, name, None) for name in ("ENABLE_RAY_CLUSTER", "RAY_ENABLE_UV_RUN_RUNTIME_ENV")}
    if local:
        os.environ[_LOOPBACK], os.environ["RAY_USAGE_STATS_ENABLED"] = "0", "0"
        for name in was:
            setattr(constants, name, False)
    try:
        yield
    finally:
        for name, value in was.items():
            setattr(constants, name, value)
        for name, text in kept.items():
            if text is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = text


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Ray says of its start from stderr: that it has a token, that this is not the main thread."""
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _log_what_is_printed(ray: Any) -> None:  # Any: as above
    """Have what Ray prints to this program's stdout, such as that a worker died, go to the log: stdout has results."""
    if callable(getattr(ray._private.worker, "print_to_stdstream", None)):

        def to_log(data: Any, ignore_prefix: bool = False) -> None:  # Any: as Ray has it
            _log.info("Ray: %s", "\n".join(map(str, data.get("lines", ()))))

        ray._private.worker.print_to_stdstream = to_log
