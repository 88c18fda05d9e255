"""The submitting face: one by one, or as a stream. The pool itself has it, and so has what `options` returns."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NoReturn, TypeVar, overload

from longshore._carrying import in_this_context, one_call
from longshore._intake import Intake
from longshore._runtime.feeding import Feed
from longshore._runtime.handles import Handle
from longshore._runtime.remote import RemoteFuture
from longshore._runtime.source import check_iterable
from longshore._runtime.specs import from_here, merged
from longshore._runtime.stream import Stream
from longshore.errors import QueueFull
from longshore.processor import ProcessorContext, ProcessorResult
from longshore.shared import Shared, opened, opened_calls
from longshore.task import Attempt, Outcome, TaskOptions, TaskSpec

ItemT = TypeVar("ItemT")
T = TypeVar("T")
Items = Iterable[ItemT] | AsyncIterable[ItemT]
Async = Callable[..., Coroutine[Any, Any, T]]  # Any: the user's arguments, and what coroutines never tell


class Submitter:
    """A pool with options set: `pool.options(timeout=30)` gives one, and it may be kept and used again."""

    def __init__(
        self,
        options: TaskOptions,
        intake: Callable[[], Intake],
        expect: Callable[[int | None], Callable[[int], None]],
        given: Mapping[str, Any] | None = None,  # Any: each option's own type
    ) -> None:
        """Submit with `options` to what `intake()` gives, which raises PoolNotRunning while the pool is not running.

        `expect` is told how many tasks a stream will have, and gives what is to be told how many it had. `given` is
        what of the options was said, and not left to the defaults.
        """
        self._options = options
        self._given = dict(given or {})
        self._shared = merged(options, {"key": None})  # a key belongs to a task, not to its spec
        self._intake = intake
        self._expect = expect

    def options(self, **changes: Any) -> Submitter:  # Any: each option's own type, see TaskOptions
        """Return a submitter with some options changed.

        The options are those of `longshore.TaskOptions`: executor, priority, timeout, soft_timeout, deadline, retry,
        max_per_second, breaker, concurrent_limit, resources, key, name, initializer, group, rank, isolation, context,
        parent, version, on_crash. TypeError names one that does not exist, ValueError a value that can't be meant; what
        an executor cannot honour is refused with ValueError when something is submitted.
        """
        return Submitter(merged(self._options, changes), self._intake, self._expect, {**self._given, **changes})

    @overload
    async def submit(self, function: Async[T], /, *args: Any, **kwargs: Any) -> Handle[T]: ...

    @overload
    async def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Handle[T]: ...

    async def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Handle[Any]:  # Any: user's
        """Queue one call, waiting for room without bound; handles among the arguments are awaited first.

        When the task of such a handle failed or was cancelled, `submit` raises what awaiting it raises, and queues
        nothing. A handle inside a list or another collection is passed on as it is. The task sees the context variables
        of the caller; in another process only those that the option `context` names.

        Raises PoolNotRunning, ResourceUnavailable (can never fit), PayloadError (can't leave the process), ValueError,
        and WrongPlace on another loop than the pool's, as all that submits does but `submit_threadsafe`.
        """
        intake = self._intake()
        spec = intake.shared_spec(function, from_here(self._shared))
        if _has_handles(args, kwargs):
            args = tuple([await arg if isinstance(arg, Handle) else arg for arg in args])
            kwargs = {name: await arg if isinstance(arg, Handle) else arg for name, arg in kwargs.items()}
            intake = self._intake()
            intake.driver.check()
        if intake.driver.crowded(spec.priority):
            await intake.driver.wait_for_room(spec.priority)
            intake = self._intake()
        return self._put(intake, spec, args, kwargs, hurry=True)

    @overload
    def submit_nowait(self, function: Async[T], /, *args: Any, **kwargs: Any) -> Handle[T]: ...

    @overload
    def submit_nowait(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Handle[T]: ...

    def submit_nowait(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Handle[Any]:  # Any: user's
        """Queue one call, or raise QueueFull if there is no room; else as `submit`, but it takes no handles."""
        if _has_handles(args, kwargs):
            raise TypeError("submit_nowait cannot wait for a handle among its arguments: await it, or use submit")
        intake = self._intake()
        spec = intake.shared_spec(function, from_here(self._shared))
        if intake.driver.room(spec.priority) <= 0:
            raise QueueFull(
                f"no room for {spec.name}: the queue is full; use `await pool.submit(...)` to wait for room",
                name=spec.name,
            )
        return self._put(intake, spec, args, kwargs)

    @overload
    def submit_threadsafe(self, function: Async[T], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[T]: ...

    @overload
    def submit_threadsafe(
        self, function: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future[T]: ...

    def submit_threadsafe(
        self, function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future[Any]:  # Any: the user's own
        """Queue one call from any other thread; the future gets its result or its exception.

        Cancelling the future before its task ended cancels the task. A task of this pool that waits for the future
        lends its worker out meanwhile; where all that runs waits in vain, it gets WrongPlace.
        """
        own = from_here(self._shared)  # here: the task that calls, if one does, may be over before the loop gets to it
        submitter = self if own is self._shared else self.options(parent=own.parent)
        future = RemoteFuture(self._intake().driver)
        future.begin(lambda: submitter.submit(function, *args, **kwargs))
        return future

    async def process(self, processor: str, context: ProcessorContext) -> Handle[ProcessorResult]:
        """Queue a document for an installed processor, under the options that its metadata and this submitter say.

        Where both say something, this submitter does. The document's id is the task's key. Raises PluginError for a
        processor that is missing, broken or disabled, and what `submit` raises.
        """
        entry = self._intake().processors.entry(processor)
        given = {name: value for name, value in self._given.items() if name != "key"}
        key = self._options.key or context.document_id
        return await self.options(**entry.options_with(given), key=key).submit(entry.call, context)

    def outcomes(
        self,
        function: Callable[..., Any],  # Any: the user's function
        items: Items[Any],  # Any: its arguments
        *,
        total: int | None = None,
        ordered: bool = False,
        key: Callable[[Any], str] | None = None,
    ) -> Stream[Outcome]:
        """Call `function` with each item; give an Outcome per item as they end (`ordered`: in input order).

        Lazy and bounded; never raises for a task, but for `items` when iterating them does. `total` tells progress how
        many there will be; `key` names an item in events and views. Leaving `async with` cancels what is left. An item
        that is a handle is passed on as it is: await it before, or make the items with an async generator that does. A
        plain iterable is iterated on the pool's loop, where one that blocks holds up all that is told: make it async.
        """
        named = None if key is None else (lambda call: key(call[0]))
        return self._stream(function, singly(items), None, total or length(items), ordered, named)

    @overload
    def map(self, function: Async[T], items: Items[Any], *, total: int | None = None) -> Stream[T]: ...

    @overload
    def map(self, function: Callable[..., T], items: Items[Any], *, total: int | None = None) -> Stream[T]: ...

    def map(
        self,
        function: Callable[..., Any],
        items: Items[Any],
        *,
        total: int | None = None,  # Any: the user's own
    ) -> Stream[Any]:
        """Call `function` with each item; give results in input order, raise the first failure, like the built-in.

        Handles among the items are passed on as they are, as in `outcomes`.
        """
        return self._stream(function, singly(items), Outcome.unwrap, total or length(items), True, None)

    @overload
    def starmap(self, function: Async[T], calls: Items[Iterable[Any]], *, total: int | None = None) -> Stream[T]: ...

    @overload
    def starmap(
        self, function: Callable[..., T], calls: Items[Iterable[Any]], *, total: int | None = None
    ) -> Stream[T]: ...

    def starmap(
        self,
        function: Callable[..., Any],  # Any: the user's own
        calls: Items[Iterable[Any]],
        *,
        total: int | None = None,
    ) -> Stream[Any]:
        """Do what `map` does, with each item giving all arguments of one call; handles among them stay handles."""
        return self._stream(function, _spread(calls), Outcome.unwrap, total or length(calls), True, None)

    def _stream(
        self,
        function: Callable[..., Any],  # Any: the user's own
        calls: Items[tuple[Any, ...]],
        give: Callable[[Outcome], T] | None,
        total: int | None,
        ordered: bool,
        key: Callable[[tuple[Any, ...]], str] | None,
    ) -> Stream[T]:
        intake = self._intake()
        spec = in_this_context(intake.new_spec(function, from_here(self._shared)))
        feed = Feed(
            intake.driver,
            spec,
            calls,
            ids=intake.ids,
            ordered=ordered,
            key=key,
            examine=intake.examiner(spec),
            opened=opened_calls if intake.stays(spec) else None,
            columns=intake.in_columns(spec),
            recalling=intake.recalling,
            expect=lambda: self._expect(total),
        )
        return Stream(feed, give)

    def __reduce__(self) -> NoReturn:
        """Refuse to travel: a pool lives in the process that made it."""
        raise TypeError("a pool cannot be sent to another process: tasks there return what is to be submitted next")

    def _put(
        self,
        intake: Intake,
        spec: TaskSpec,
        args: tuple[Any, ...],  # Any: the user's own
        kwargs: dict[str, Any],
        *,
        hurry: bool = False,
    ) -> Handle[Any]:
        if Shared.used and intake.stays(spec):
            args, kwargs = opened(args, kwargs)
        named, context, trace = one_call(spec, kwargs or None)
        now, key = time.monotonic(), self._options.key
        attempt = Attempt(next(intake.ids), spec, args, named, 0, key, 1, now, None, context, (), None, trace)
        # A document's id is its key, and not all there is to say of it: its file may have changed.
        return intake.accept(attempt, hurry=hurry, key=key if spec.processor is None else None)


def _has_handles(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:  # Any: the user's own
    for arg in args:
        if isinstance(arg, Handle):
            return True
    return bool(kwargs) and any(isinstance(arg, Handle) for arg in kwargs.values())


def length(items: object) -> int | None:
    """Return how many items there are, None if they can't say."""
    try:
        return len(items)  # type: ignore[arg-type]  # that it may have none is the point
    except TypeError:
        return None


def singly(items: Items[Any], what: str = "items") -> Items[tuple[Any]]:  # Any: the user's own
    """Return each item as the arguments of a call; TypeError, which says `what` they are, if they can't be iterated."""
    check_iterable(what, items)
    return zip(items) if isinstance(items, Iterable) else _singly_async(items)


async def _singly_async(items: AsyncIterable[Any]) -> AsyncIterator[tuple[Any]]:  # Any: the user's own
    async with _closing(items):
        async for item in items:
            yield (item,)


def _spread(calls: Items[Iterable[Any]]) -> Items[tuple[Any, ...]]:  # Any: the user's own
    check_iterable("calls", calls)
    return map(tuple, calls) if isinstance(calls, Iterable) else _spread_async(calls)


async def _spread_async(calls: AsyncIterable[Iterable[Any]]) -> AsyncIterator[tuple[Any, ...]]:  # Any: the user's own
    async with _closing(calls):
        async for call in calls:
            yield tuple(call)


@asynccontextmanager
async def _closing(items: AsyncIterable[Any]) -> AsyncIterator[None]:  # Any: the user's own
    """Close an async generator with the stream that iterates it, so that its `finally` runs then."""
    try:
        yield
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()
