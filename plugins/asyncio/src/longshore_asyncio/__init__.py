"""The executor `asyncio`: coroutine functions on the pool's own loop."""

from longshore_asyncio.executor import AsyncioExecutor

__all__ = ["AsyncioExecutor"]
