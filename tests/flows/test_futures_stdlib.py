"""The standard library's own tests of executors, run against `PoolExecutor`, where this Python has them installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

INSTALLED = importlib.util.find_spec("test") is not None and importlib.util.find_spec("test.test_concurrent_futures")
PACKAGE = bool(INSTALLED and INSTALLED.submodule_search_locations)

LEFT_OUT = {
    # Programs in texts, that name an executor of concurrent.futures; test_futures_life.py has the same with ours.
    "test_interpreter_shutdown",
    "test_submit_after_interpreter_shutdown",
    "test_hang_gh83386",
    "test_cancel_futures_wait_false",
    # They count `_threads`, and ask for the standard library's own default number of workers.
    "test_default_workers",
    "test_saturation",
    "test_idle_thread_reuse",
}

PROGRAM = """
    import sys, unittest
    from longshore import PoolExecutor, Settings
    from test.test_concurrent_futures import executor, test_as_completed, test_init, test_shutdown, test_thread_pool
    from test.test_concurrent_futures import test_wait
    from test.test_concurrent_futures.util import BaseTestCase, ExecutorMixin

    class Ours(PoolExecutor):
        place = ""

        def __init__(self, max_workers=None, **options):
            super().__init__(max_workers, executor=self.place, settings=Settings(probes=()), **options)

        @property
        def _broken(self):
            try:
                self.submit(int)
            except Exception as error:
                return error

    LEFT_OUT = {left_out!r}
    suite = unittest.TestSuite()
    shared = (executor.ExecutorTest, test_wait.WaitTests, test_as_completed.AsCompletedTests,
        test_shutdown.ExecutorShutdownTest, test_init.InitializerMixin, test_init.FailingInitializerMixin)
    of_threads = (test_thread_pool.ThreadPoolExecutorTest, test_wait.ThreadPoolWaitTests)
    for place in ("threads", "processes"):
        kind = type(place.title(), (Ours,), dict(place=place))
        for tests in shared + (of_threads if place == "threads" else ()):
            bases = (tests,) if issubclass(tests, unittest.TestCase) else (tests, ExecutorMixin, BaseTestCase)
            bases = tuple(base for base in bases if base is tests or not issubclass(tests, base))
            case = type(place.title() + tests.__name__, bases, dict(executor_type=kind))
            for name in unittest.defaultTestLoader.getTestCaseNames(case):
                if name not in LEFT_OUT:
                    suite.addTest(case(name))
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    print("ran", result.testsRun)
    sys.exit(not result.wasSuccessful())
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(
    not PACKAGE, reason="this Python has no test.test_concurrent_futures (as a package: 3.12 and later)"
)
def test_the_standard_librarys_tests_hold_for_ours(tmp_path: Path) -> None:
    """Submitting, waiting, map, shutdown, initializers: what holds for its executors holds for ours."""
    (tmp_path / "program.py").write_text(dedent(PROGRAM.replace("{left_out!r}", repr(LEFT_OUT))))
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    assert int(done.stdout.rsplit("ran ", 1)[1]) >= 60
