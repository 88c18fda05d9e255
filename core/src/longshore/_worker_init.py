"""An executor's initializer as it travels to workers, and the error that says that it failed; workers import it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from longshore._packing import described
from longshore.errors import LongshoreError


class InitializerFailed(LongshoreError):
    """A worker could not be got ready; the cause is what the initializer raised."""


class WorkerInit:
    """Calls the initializer of one executor with its arguments. Equal to its own copies, so a worker calls it once."""

    __slots__ = ("_arguments", "_function", "_token")

    def __init__(
        self, function: Callable[..., object], arguments: tuple[Any, ...], token: str | None = None
    ) -> None:  # Any: the user's own
        """Call `function(*arguments)`; `token` is that of the one it is a copy of."""
        self._function = function
        self._arguments = arguments
        self._token = token or uuid.uuid4().hex

    def __call__(self) -> None:
        """Get a worker ready; InitializerFailed if that raises anything."""
        try:
            self._function(*self._arguments)
        except BaseException as error:
            raise InitializerFailed(f"the initializer raised {described(error)}") from error

    def __eq__(self, other: object) -> bool:
        """Equal what was copied from the same."""
        return isinstance(other, WorkerInit) and other._token == self._token

    def __hash__(self) -> int:
        """Return the hash that goes with being equal."""
        return hash(self._token)

    def __reduce__(self) -> tuple[Any, ...]:  # Any: as pickle has it
        """Travel with the token."""
        return type(self), (self._function, self._arguments, self._token)
