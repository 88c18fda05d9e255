"""What is known of an exception, as a record that travels or in words: capped, whatever its own methods do.

Used by `worker`, from where executors have it, and by all who call plugins or users' code; workers import it.
"""

from __future__ import annotations

import pickle
import traceback
from typing import Any

from longshore.errors import LongshoreError
from longshore.task import ErrorRecord

_TEXT_CAP = 16_384  # characters kept of a message or a traceback
_FRAMES = 64  # of each exception, the innermost: one that went up through nested tasks has some for each of them
_PART_CAP = 4_096  # and of one entry of a traceback: a long message must not push out where it was raised


class RemoteTraceback(Exception):
    """The cause of an exception that was raised in another process: its traceback there, as text."""

    def __init__(self, text: str) -> None:
        """Carry `text`."""
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        """Return the text as a traceback is shown."""
        return f"\n\n{self.text.rstrip()}\n"


def pack_error(exception: BaseException, attempt: int, worker: str | None) -> ErrorRecord:
    """Return what is known of an exception, capped, whatever its `__str__` does."""
    facts = _facts(exception)
    reason = facts.get("reason")
    return ErrorRecord(
        type=type_name(exception),
        message=message_of(exception),
        traceback=_traceback(exception),
        reason=reason if type(reason) is str else None,
        attempt=attempt,
        worker=worker,
        exit_code=facts.get("exit_code"),
        signal=facts.get("signal"),
        peak_memory_mb=facts.get("peak_memory_mb"),
    )


def type_name(exception: BaseException) -> str:
    """Return the qualified name of the exception's class, without `builtins`."""
    kind = type(exception)
    try:
        return f"{kind.__qualname__}" if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    except BaseException as error:  # noqa: BLE001 - a metaclass is user code and may raise anything
        return f"<the name could not be made: {type(error).__name__}>"


def described(exception: BaseException) -> str:
    """Return the name of the exception's class and its message, for people."""
    try:
        name = f"{type(exception).__name__}"
    except BaseException:  # noqa: BLE001 - a metaclass is user code and may raise anything
        name = type_name(exception)
    return f"{name}: {message_of(exception)}"


def message_of(exception: BaseException) -> str:
    """Return what the exception says, capped."""
    try:
        return str.__getitem__(str(exception), slice(_TEXT_CAP))  # a str itself, also of a kind of the user's own
    except BaseException as error:  # noqa: BLE001 - __str__ is user code and may raise anything
        return f"<the message could not be made: {type(error).__name__}>"


def portable(exception: BaseException) -> bytes | None:
    """Return a pickle of the exception that was shown to come back as the same type, else None."""
    try:
        data = pickle.dumps(exception, pickle.HIGHEST_PROTOCOL)
        back = pickle.loads(data)  # noqa: S301 - our own bytes, made in the line above
    except BaseException:  # noqa: BLE001 - a reducer is user code and may raise anything
        return None
    return data if type(back) is type(exception) else None


def _facts(exception: BaseException) -> dict[str, Any]:  # Any: JSON-safe values, if they are what they should be
    try:
        return dict(exception.facts) if isinstance(exception, LongshoreError) else {}
    except BaseException:  # noqa: BLE001 - attributes are user code and may raise anything
        return {}


def _traceback(exception: BaseException) -> str:
    try:
        return "".join(map(_shortened, traceback.format_exception(exception, limit=-_FRAMES)))[-_TEXT_CAP:]
    except BaseException as error:  # noqa: BLE001 - formatting calls user code, which may raise anything
        return f"<the traceback could not be made: {type(error).__name__}>"


def _shortened(part: str) -> str:
    return part if len(part) <= _PART_CAP else f"{part[:_PART_CAP]}...\n"
