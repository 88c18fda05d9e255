"""A document that is an object of a store, as a file of the worker's own for as long as it is worked on.

In: a path or a context, as stages are given. Out: the same with a local path. Called in the worker, so that what a
fetch takes is part of the attempt, and what goes wrong with it is tried again as the task is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any, TypeVar

from msgspec.structs import replace

from longshore._objects import is_url, local_path, told
from longshore.processor import ProcessorContext

Given = TypeVar("Given", str, ProcessorContext)


def is_object(document: str | ProcessorContext) -> bool:
    """Tell whether the document is named by a URL."""
    return _url_of(document) is not None


def _url_of(document: object) -> str | None:
    path = document.file_path if isinstance(document, ProcessorContext) else document
    return path if isinstance(path, str) and is_url(path) else None


@contextmanager
def at_hand(document: Given, most_bytes: float | None = None) -> Iterator[Given]:
    """Give the document with a local path: a file:// URL's own file, or a copy that is gone with the block.

    In the message of an exception that leaves the block the copy's path reads as the URL. DocumentError as `fetched`.
    """
    url = _url_of(document)
    if url is None:
        yield document
        return
    own = local_path(url)
    if own is not None:
        yield _with_path(document, own)
        return
    from longshore._object_files import fetched  # for objects only: a worker starts without what it needs

    with fetched(url, most_bytes) as path:
        try:
            yield _with_path(document, path)
        except Exception as error:
            error.args = tuple(arg.replace(path, told(url)) if isinstance(arg, str) else arg for arg in error.args)
            raise


@asynccontextmanager
async def at_hand_async(document: Given, most_bytes: float | None = None) -> AsyncIterator[Given]:
    """Do what `at_hand` does, on a thread; a fetch that is cancelled meanwhile ends there, and goes."""
    manager = at_hand(document, most_bytes)
    entering = asyncio.ensure_future(asyncio.to_thread(manager.__enter__))
    try:
        given = await asyncio.shield(entering)
    except asyncio.CancelledError:
        entering.add_done_callback(lambda done: _leave(manager, done))
        raise
    with _entered(manager):
        yield given


def _leave(manager: AbstractContextManager[Any], entering: asyncio.Future[Any]) -> None:  # Any: as at_hand gives
    if not entering.cancelled() and entering.exception() is None:
        manager.__exit__(None, None, None)


@contextmanager
def _entered(manager: AbstractContextManager[Any]) -> Iterator[None]:  # Any: as above
    """Leave a manager that was entered elsewhere."""
    try:
        yield
    except BaseException as error:
        manager.__exit__(type(error), error, error.__traceback__)
        raise
    manager.__exit__(None, None, None)


def _with_path(document: Any, path: str) -> Any:  # Any: one of the two, as it was given
    return path if isinstance(document, str) else replace(document, file_path=path)


class FetchingCall:
    """A function that is called with a local path where its document is an object."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:  # Any: the user's function
        """Call `function`, and go by its `name`."""
        self.function = function
        self.__qualname__ = name

    def __longshore_identity__(self) -> object:
        """Be told apart by the function."""
        return self.function

    def __call__(self, document: Any) -> Any:  # Any: a path or a context; the user's own
        """Call the function."""
        with at_hand(document) as given:
            return self.function(given)


class FetchingCoroutine(FetchingCall):
    """The same of a function that gives a coroutine."""

    async def __call__(self, document: Any) -> Any:  # Any: as above
        """Call the function, and await what it gives."""
        async with at_hand_async(document) as given:
            return await self.function(given)
