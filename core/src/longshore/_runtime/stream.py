"""Streams: many calls of one function, pulled lazily from an iterable and given back as they end or in order."""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from longshore._runtime.feeding import Feed
from longshore.task import Outcome

ItemT = TypeVar("ItemT")


class Stream(Generic[ItemT]):
    """An async iterator over what becomes of many calls; also a context manager that cancels what is left on leaving.

    Iterate once. Closing (`aclose`, `close`, or leaving `async with`) cancels what is queued or running and waits for
    nothing; so does letting go of it, as `break` does of a stream that has no name. What iterating the calls raised is
    raised here, after the outcomes of those before.
    """

    def __init__(self, feed: Feed, give: Callable[[Outcome], ItemT] | None) -> None:
        """Give what `give` makes of each outcome, which it is itself without."""
        self._feed, self._give = feed, give
        self._giving: Iterator[Outcome] = iter(())
        weakref.finalize(self, feed.let_go).atexit = False  # then there is no loop left to close it on

    def __aiter__(self) -> Self:
        """Iterate; once."""
        return self

    async def __anext__(self) -> ItemT:
        """Give the next; waits for it. A plain iterator: on Python 3.13 an async generator takes half as long again."""
        outcome = next(self._giving, None)
        if outcome is None:
            ready = await self._feed.next_batch()
            if not ready:
                self.close()
                raise StopAsyncIteration
            outcome = ready.popleft()
            self._giving = iter(ready)
        if self._give is None:
            return outcome  # type: ignore[return-value]  # then ItemT is Outcome; a cast would cost a call a task
        try:
            return self._give(outcome)
        except BaseException:
            self.close()  # a task's failure is raised: what is left is wanted by nobody
            raise

    async def batches(self) -> AsyncGenerator[list[ItemT], None]:
        """Iterate, once, over lists of what has come in together; for callers that hand it on."""
        try:
            while ready := await self._feed.next_batch():
                given, failure = self._given(ready)
                if given:
                    yield given
                if failure is not None:
                    raise failure
        finally:
            self.close()

    async def __aenter__(self) -> Self:
        """Enter; leaving cancels what is left."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel what is left."""
        self.close()

    async def aclose(self) -> None:
        """Do what `close` does; for callers that expect to await it."""
        self.close()

    def close(self) -> None:
        """Cancel what is queued or running of this stream, and give nothing more; waits for nothing."""
        self._giving = iter(())
        self._feed.close()

    def _given(self, outcomes: Iterable[Outcome]) -> tuple[list[ItemT], BaseException | None]:
        """Return what is given of the outcomes, up to the first that raises."""
        given: list[ItemT] = []
        give = self._give
        if give is None:
            return list(outcomes), None  # type: ignore[arg-type]  # as in __anext__
        try:
            for outcome in outcomes:
                given.append(give(outcome))
        except BaseException as error:  # noqa: BLE001 - a task's own exception, raised to the consumer after the results
            return given, error
        return given, None
