"""The executor `threads`: plain functions in threads of this process."""

from longshore_threads.executor import ThreadsExecutor

__all__ = ["ThreadsExecutor"]
