"""A processor in a worker, without a pool: its thread and its loop, how a document ends, and what is said of that.

Used by the suite of processors.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import math
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from longshore._calling import json_text, succeeded
from longshore.errors import TaskFailed
from longshore.hookspecs import Processor
from longshore.processor import ProcessorContext, ProcessorResult
from longshore.testing.conformance._aside import Aside

Contexts = Sequence[ProcessorContext]


class Working:
    """A processor in a worker of its own, on that worker's thread and loop."""

    def __init__(self, processor: Processor, aside: Aside, runner: asyncio.Runner) -> None:
        """Use this one; it is not initialised."""
        self.processor = processor
        self._aside = aside
        self._runner = runner

    def initialize(self) -> None:
        """Get it ready."""
        self._aside.done("Processor.initialize", self.processor.initialize)

    def cleanup(self) -> None:
        """Have it let go."""
        self._aside.done("Processor.cleanup", self.processor.cleanup)

    def health(self) -> object:
        """Ask how it is."""
        return self._aside.done("Processor.health_check", self.processor.health_check)

    def processed(self, context: ProcessorContext) -> ProcessorResult:
        """Process a document that it can process; AssertionError where it does not."""
        result = self._aside.done(f"Processor.process, given {context.document_id!r},", self._process, context)
        assert isinstance(result, ProcessorResult), f"Processor.process gave {result!r}, not a ProcessorResult"
        try:
            return succeeded("it", result)
        except (TaskFailed, ValueError) as error:
            raise AssertionError(
                f"Processor.process, given {context.document_id!r}, did not complete: {error}"
            ) from error

    def refusal(self, context: ProcessorContext) -> object:
        """Return what `validate_input` says of a document, or the Exception it raises; None where there is none."""
        look = getattr(self.processor, "validate_input", None)
        if look is None:
            pytest.skip("it has no validate_input")
        try:
            return self._aside.tried("Processor.validate_input", look, context)
        except AssertionError:
            raise
        except Exception as error:  # noqa: BLE001 - it may raise any instead
            return error

    def ended(self, context: ProcessorContext) -> ProcessorResult | Exception:
        """Return how a document ends, in a result or in an Exception; AssertionError for any other way."""
        what = f"Processor.process, given {context.document_id!r},"
        try:
            result = self._aside.tried(what, self._process, context)
        except AssertionError:
            raise
        except Exception as error:  # noqa: BLE001 - a processor may raise any, and that is its answer
            return error
        except BaseException as error:
            raise AssertionError(
                f"{what} raised {error!r}, which ends more than this document: raise an Exception"
            ) from error
        assert isinstance(result, ProcessorResult), f"{what} gave {result!r}, not a ProcessorResult"
        return result

    def _process(self, context: ProcessorContext) -> Any:  # Any: a plugin's
        result: Any = self.processor.process(context)  # Any: a ProcessorResult, or a coroutine that gives one
        return self._runner.run(result) if inspect.iscoroutine(result) else result


def needed(contexts: Contexts, reason: str) -> None:
    """Skip the test, for this reason, where there are no documents for it."""
    if not contexts:
        pytest.skip(reason)


def is_number(value: object) -> bool:
    """Tell whether it is a plain, finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_count(value: object) -> bool:
    """Tell whether it is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def travelled(value: Any, what: str) -> Any:  # Any: a plugin's
    """Return what another process would have of it; AssertionError where it cannot travel."""
    try:
        return pickle.loads(pickle.dumps(value))  # noqa: S301 - what was pickled a moment ago
    except Exception as error:
        raise AssertionError(f"{what} cannot be pickled: {type(error).__name__}: {error}") from error


def assert_json(value: Any, what: str) -> None:  # Any: as above
    """Have it be what JSON can hold, and the same once it was written and read."""
    try:
        came = json.loads(json_text(value))
    except (TypeError, ValueError, RecursionError) as error:
        raise AssertionError(f"{what} is not JSON: {error}") from error
    assert came == _listed(value), f"{what} is {value!r}, and {came!r} once it was written as JSON and read again"


def _listed(value: Any) -> Any:  # Any: JSON values, and tuples for lists
    if isinstance(value, Mapping):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value


def assert_failed(context: ProcessorContext, end: ProcessorResult | Exception) -> None:
    """Have a document fail as the contract says, with a reason that a person can read."""
    assert_ended(context, end)
    failed = isinstance(end, Exception) or _status(end) == "failed"
    assert failed, f"{context.document_id!r} cannot be processed, and yet Processor.process completed it: {end!r}"


def assert_ended(context: ProcessorContext, end: ProcessorResult | Exception) -> None:
    """Have it end as the contract says: completed, or failed with a reason that a person can read."""
    if isinstance(end, Exception):
        assert str(end), f"Processor.process, given {context.document_id!r}, raised {end!r} without a message"
        return
    word = _status(end)
    assert word in ("completed", "failed"), f"ProcessorResult.status is {end.status!r}: completed or failed is due"
    said = word == "completed" or bool("".join(end.errors).strip())
    assert said, f"{context.document_id!r} failed, and ProcessorResult.errors does not say why"


def _status(result: ProcessorResult) -> str:
    return str(getattr(result.status, "value", result.status)).lower()
