"""The processors of one pool, by name: made from settings and plugins, replaced while it runs, asked for their health.

In: names. Out: entries, each with the function of its tasks and the options its metadata call for.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from longshore._document_check import InputCheck
from longshore._packing import described, message_of
from longshore._plugins.advice import unknown_plugin
from longshore._plugins.contract import class_problems, instance_problems
from longshore._processing import AsyncProcessorCall, ProcessorCall
from longshore._runtime.specs import merged
from longshore.errors import PluginError, SettingsError
from longshore.hookspecs import Processor
from longshore.plugins import PluginHost
from longshore.processor import ProcessorHealth, ProcessorMetadata
from longshore.settings import Settings
from longshore.task import Resources, RetryPolicy, TaskOptions

Factory = Callable[[], Any]  # Any: a Processor, by contract


@dataclass(frozen=True, slots=True)
class ProcessorEntry:
    """A processor as a pool uses it: `call` is the function of its tasks, `options` the keywords of `pool.options`."""

    name: str
    metadata: ProcessorMetadata
    call: ProcessorCall
    options: Mapping[str, Any]  # Any: each option's own type

    def options_with(self, own: Mapping[str, Any]) -> dict[str, Any]:  # Any: as above
        """Return the options, those in `own` first; without a time limit for `inline`, which has none."""
        options = {**self.options, **own}
        if own.get("executor", self.call.executor) == "inline" and "timeout" not in own:
            options.pop("timeout", None)
        return options


@dataclass(frozen=True, slots=True)
class _Question:
    """The health of one processor, while a thread of its own asks for it."""

    answer: asyncio.Future[ProcessorHealth]
    thread: threading.Thread

    @property
    def open(self) -> bool:
        """Whether there is no answer yet."""
        return self.thread.is_alive() and not self.answer.done()


class Processors:
    """Entries by name, each made on first use; every method may be called from any thread."""

    def __init__(self, settings: Settings, plugins: PluginHost) -> None:
        """Make nothing yet."""
        self._settings = settings
        self._plugins = plugins
        self._lock = threading.RLock()
        self._entries: dict[str, ProcessorEntry] = {}
        self._asking: dict[ProcessorCall, _Question] = {}

    def entry(self, name: str) -> ProcessorEntry:
        """Return the entry; PluginError for a processor that is missing, broken or refused, or of senseless metadata.

        It stays the same, and so does its `call`, until the processor is replaced.
        """
        with self._lock:
            entry = self._entries.get(name)
            if entry is None:
                entry = self._entries[name] = self._enter(name, *self._installed(name), version=1)
            return entry

    def used(self) -> list[str]:
        """Return the names of those that were asked for so far."""
        with self._lock:
            return list(self._entries)

    def replace(self, name: str, processor: Processor | type[Processor] | str) -> None:
        """Use another processor under this name from now on; raises PluginError, and then changes nothing."""
        if isinstance(processor, str):
            made = self._installed(processor)
        elif inspect.isclass(processor):
            made = self._of_class(name, processor)
        else:
            made = self._of_instance(name, processor)
        with self._lock:
            version = self._entries[name].call.version + 1 if name in self._entries else 2
            self._entries[name] = self._enter(name, *made, version=version)

    async def health(self, names: Iterable[str], timeout_s: float) -> dict[str, ProcessorHealth]:
        """Ask each of these side by side, and wait at most `timeout_s` for all; one that is still silent is unwell.

        Of one that was asked before and still has not answered, that answer is waited for: there is never a second.
        """
        found: dict[str, ProcessorHealth] = {}
        asking: dict[str, asyncio.Future[ProcessorHealth]] = {}
        for name in dict.fromkeys(names):
            try:
                asking[name] = self._asked(self.entry(name))
            except (PluginError, SettingsError) as error:
                found[name] = ProcessorHealth(healthy=False, reason=str(error))
        if asking:
            await asyncio.wait(asking.values(), timeout=timeout_s)
        silent = ProcessorHealth(healthy=False, reason=f"no answer within {timeout_s:g} s", took_s=timeout_s)
        return found | {name: answer.result() if answer.done() else silent for name, answer in asking.items()}

    def _asked(self, entry: ProcessorEntry) -> asyncio.Future[ProcessorHealth]:
        """Ask, unless somebody has and waits; one that hangs since another loop ran is silent in this one."""
        self._asking = {call: asked for call, asked in self._asking.items() if asked.open}
        loop, before = asyncio.get_running_loop(), self._asking.get(entry.call)
        if before is not None:
            return before.answer if before.answer.get_loop() is loop else loop.create_future()
        asked = self._asking[entry.call] = _ask(entry)
        return asked.answer

    def _installed(self, name: str) -> tuple[Processor, Factory]:
        table = self._settings.table("processors", name)
        processor: Processor = self._plugins.create("processors", name, table)
        return processor, _factory(type(processor), table)

    def _of_class(self, name: str, kind: type[Processor]) -> tuple[Processor, Factory]:
        _refuse(name, class_problems("processors", kind))
        try:
            factory = _factory(kind, self._settings.table("processors", name))
            processor = factory()
        except Exception as error:
            raise _unfit(name, f"could not be made: {described(error)}") from error
        _refuse(name, instance_problems("processors", processor))
        return processor, factory

    def _of_instance(self, name: str, processor: Processor) -> tuple[Processor, Factory]:
        _refuse(name, [*class_problems("processors", type(processor)), *instance_problems("processors", processor)])
        try:
            kept = copy.deepcopy(processor)  # each worker has its own, whatever becomes of the caller's
        except Exception as error:
            raise _unfit(
                name, f"could not be copied, as each worker needs its own: {message_of(error)}; give its class"
            ) from error
        return kept, functools.partial(copy.deepcopy, kept)

    def _check(self, metadata: ProcessorMetadata) -> None:
        """Raise ValueError for what no option of a task says already."""
        if isinstance(metadata.formats, str):
            raise ValueError(f"formats must be a list: [{metadata.formats!r}]")
        if metadata.max_file_size_mb is not None and not metadata.max_file_size_mb > 0:
            raise ValueError(f"max_file_size_mb must be greater than 0, not {metadata.max_file_size_mb!r}")
        known = {"inline", *(candidate.name for candidate in self._plugins.candidates("executors"))}
        if metadata.executor is not None and metadata.executor not in known:
            raise ValueError(unknown_plugin("executors", metadata.executor, [("executors", name) for name in known]))

    def _enter(self, name: str, processor: Processor, factory: Factory, *, version: int) -> ProcessorEntry:
        metadata = processor.metadata
        try:
            options = _options(metadata)
            merged(TaskOptions(), options)
            self._check(metadata)
        except (ValueError, TypeError) as error:
            raise _unfit(name, f"has metadata that can't be meant: {error}") from error
        coroutine = inspect.iscoroutinefunction(processor.process)
        kind = AsyncProcessorCall if coroutine else ProcessorCall
        call = kind(
            factory,
            name,
            version,
            executor=_executor(metadata, coroutine=coroutine),
            check=InputCheck(name, metadata, getattr(processor, "validate_input", None)),
            release=metadata.version,
        )
        return ProcessorEntry(name, metadata, call, options)


def _options(metadata: ProcessorMetadata) -> dict[str, Any]:  # Any: the keywords of `WorkerPool.options`
    said: dict[str, Any] = {  # Any: as above
        "timeout": metadata.timeout_seconds,
        "retry": RetryPolicy(attempts=metadata.retry_count + 1),
        "concurrent_limit": metadata.concurrent_limit,
        "priority": metadata.priority,
        "breaker": metadata.breaker,
    }
    if metadata.memory_mb or metadata.requires_gpu:
        said["resources"] = Resources(memory_mb=metadata.memory_mb, gpu=float(metadata.requires_gpu))
    return said


def _executor(metadata: ProcessorMetadata, *, coroutine: bool) -> str | None:
    """Return where the processor wants to run, None where it does not care."""
    if metadata.executor is not None:
        return metadata.executor
    if metadata.is_cpu_intensive:
        return "processes"
    if coroutine:
        return "asyncio"
    return "threads" if metadata.is_io_intensive else None


def _factory(kind: Callable[..., Any], table: Mapping[str, Any]) -> Factory:  # Any: a Processor's class; TOML values
    model: type[BaseModel] | None = getattr(kind, "Settings", None)
    return kind if model is None else functools.partial(kind, model.model_validate(table))


def _ask(entry: ProcessorEntry) -> _Question:
    """Have one of its own made, initialised, asked and cleaned up, on a thread that nobody waits for."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[ProcessorHealth] = loop.create_future()

    def settle(health: ProcessorHealth) -> None:
        if not answer.done():
            answer.set_result(health)

    def ask() -> None:
        began = time.monotonic()
        reason = _ailment(entry.call.factory)
        health = ProcessorHealth(healthy=reason is None, reason=reason, took_s=time.monotonic() - began)
        with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
            loop.call_soon_threadsafe(settle, health)

    thread = threading.Thread(target=ask, name=f"longshore-health-{entry.name}", daemon=True)
    thread.start()
    return _Question(answer, thread)


def _ailment(factory: Factory) -> str | None:
    """Return why a processor cannot work, None when it can."""
    try:
        processor = factory()
        processor.initialize()
        try:
            return None if processor.health_check() else "health_check returned False"
        finally:
            processor.cleanup()
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, and that is an answer
        return described(error)


def _refuse(name: str, problems: list[str]) -> None:
    if problems:
        raise _unfit(name, f"does not keep its contract: {'; '.join(problems)}")


def _unfit(name: str, what: str) -> PluginError:
    return PluginError(f"the processor for {name!r} {what}", kind="processors", name=name, reason=what)
