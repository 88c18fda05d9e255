"""What all that runs in one process has in common, and the part of the suites that sees whether a plugin changes it."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import pytest

from longshore.testing.conformance._plugin import PluginConformance

_WORDS = {
    "folder": "the working folder",
    "environ": "os.environ",
    "stdout": "sys.stdout",
    "stderr": "sys.stderr",
    "excepthook": "sys.excepthook",
    "thread_excepthook": "threading.excepthook",
    "log_level": "the level of the root logger",
    "log_handlers": "the handlers of the root logger",
}
_OF_PYTEST = "PYTEST_CURRENT_TEST"  # it says of each test whether it is set up, called or torn down


class Common(NamedTuple):
    """What no plugin may change for the others."""

    folder: str
    environ: Mapping[str, str]
    stdout: Any  # Any: whatever stands there
    stderr: Any
    excepthook: Any
    thread_excepthook: Any
    log_level: int
    log_handlers: Sequence[logging.Handler]

    @classmethod
    def now(cls) -> Self:
        """Look."""
        log = logging.getLogger()
        environ = {name: value for name, value in os.environ.items() if name != _OF_PYTEST}
        streams = (sys.stdout, sys.stderr, sys.excepthook, threading.excepthook)
        return cls(os.getcwd(), environ, *streams, log.level, tuple(log.handlers))

    def changed(self) -> Sequence[str]:
        """Return in words what is another now."""
        pairs = zip(self._fields, self, Common.now(), strict=True)
        return [_WORDS[name] for name, was, is_ in pairs if was != is_ and not (_is_pytests(was) and _is_pytests(is_))]

    def put_back(self) -> None:
        """Have all be as it was."""
        now = Common.now()
        if now.folder != self.folder:
            os.chdir(self.folder)
        for name in now.environ.keys() - self.environ.keys():
            del os.environ[name]
        os.environ.update({name: value for name, value in self.environ.items() if now.environ.get(name) != value})
        sys.stdout, sys.stderr, sys.excepthook = self.stdout, self.stderr, self.excepthook
        if not _is_pytests(now.thread_excepthook):
            threading.excepthook = self.thread_excepthook
        log = logging.getLogger()
        log.setLevel(self.log_level)
        log.handlers[:] = self.log_handlers


class CommonConformance(PluginConformance):
    """For kinds whose plugins run beside others: what a test changes is remembered, and put back after it.

    So a change is seen also where an earlier test made the same one already, or where it is made by the first call in
    the process only.
    """

    _changed: ClassVar[Mapping[str, None]] = {}  # by the tests of a class so far, in order

    @pytest.fixture(autouse=True)
    def _kept_for_others(self) -> Iterator[None]:
        """Put back what the test has changed, and remember what that was."""
        before = Common.now()
        yield
        kind = type(self)
        kind._changed = {**kind._changed, **dict.fromkeys(before.changed())}
        before.put_back()

    def _changed_since(self, before: Common) -> Sequence[str]:
        """Return in words what is another than it was `before`, or was so after an earlier test of this class."""
        return list({**self._changed, **dict.fromkeys(before.changed())})


def _is_pytests(hook: object) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("_pytest.")  # it has another one in each phase of a test
