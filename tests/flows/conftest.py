"""Fixtures of the flows: the command as a user runs it, in a folder of the test's own."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
import pytest
from longshore import (
    Outcome,
    ProcessorContext,
    ProcessorMetadata,
    ProcessorResult,
    Settings,
    WorkerConfig,
    WorkerPool,
    current_task,
)
from longshore.__main__ import main
from longshore.hookspecs import hookimpl
from longshore.records import CommitBatch, Recalled, RunOpening
from longshore.testing import MemoryJournal, RecordingSink
from support import sync_streams
from support.waiting import wait_until

DEADLINE_S = 30.0

MODULE = '''
import asyncio, os, pathlib, sys, time
from longshore.errors import DocumentError

print("this is printed while the module is imported")

def size(path):
    print("this is printed by a task")
    return {"size": os.path.getsize(path), "name": os.path.basename(path)}

async def wait(path):
    await asyncio.sleep(0.01)
    return path

def picky(path):
    what = pathlib.Path(path).read_text()
    if what == "raise":
        raise DocumentError("it is locked", reason="encrypted")
    if what == "unjson":
        return {1, 2, 3}
    if what == "die":
        os._exit(7)
    if what == "hang":
        time.sleep(60)
    return what

def always_fails(path):
    raise ValueError("always")

def fails_once(path):
    mark = pathlib.Path(path + ".tried")
    if mark.exists():
        return "second try"
    mark.touch()
    raise ValueError("first try")

def held(path):
    """Run until the file `go` appears."""
    pathlib.Path("started-" + os.path.basename(path)).touch()
    deadline = time.monotonic() + 60
    while not os.path.exists("go") and time.monotonic() < deadline:
        time.sleep(0.01)
    return "held"
'''


class Command:
    """`longshore` in a folder of its own, with nothing of the user's settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[subprocess.Popen[bytes]] = []
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LONGSHORE_")}
        self.environ = {**kept, "TERM": "xterm", "PYTHONWARNINGS": "error"}
        self.environ |= {"XDG_CONFIG_HOME": str(folder / "config"), "XDG_STATE_HOME": str(folder / "state")}
        for name in ("CI", "GITHUB_ACTIONS", "FORCE_COLOR"):
            self.environ.pop(name, None)

    def __call__(
        self, *arguments: str | bytes, stdin: bytes = b"", **environ: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run to the end."""
        return subprocess.run(
            [sys.executable, "-m", "longshore", *arguments],
            cwd=self.folder,
            env={**self.environ, **environ},
            input=stdin,
            capture_output=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Begin to run."""
        process = subprocess.Popen(
            [sys.executable, "-m", "longshore", *arguments],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
        self._running.append(process)
        return process

    def inputs(self, contents: dict[str, str] | Sequence[str]) -> Path:
        """Write the folder `in`."""
        folder = self.folder / "in"
        folder.mkdir(exist_ok=True)
        named = contents if isinstance(contents, dict) else dict.fromkeys(contents, "text")
        for name, text in named.items():
            (folder / name).write_text(text)
        return folder

    def close(self) -> None:
        """End what a test left running."""
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def longshore(tmp_path: Path) -> Iterator[Command]:
    """Return the command, in a folder that has the module `job`."""
    (tmp_path / "job.py").write_text(MODULE)
    command = Command(tmp_path)
    yield command
    command.close()


class Inside:
    """The same command in this process: quicker, where a process of its own is not the point."""

    def __init__(self, command: Command, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder = command.folder
        self.inputs = command.inputs
        self._capfd = capfd
        self._patch = monkeypatch
        monkeypatch.chdir(command.folder)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(command.folder / "config"))
        monkeypatch.setenv("XDG_STATE_HOME", str(command.folder / "state"))
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "path", list(sys.path))
        for name in [name for name in os.environ if name.startswith("LONGSHORE_")]:
            monkeypatch.delenv(name)

    def __call__(self, *arguments: str, stdin: bytes = b"", **environ: str) -> tuple[int, str, str]:
        """Return exit code, stdout and stderr."""
        self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        for name, value in environ.items():
            self._patch.setenv(name, value)
        for module in ("job", "broken", "stages"):
            sys.modules.pop(module, None)
        self._capfd.readouterr()
        code = main(arguments)
        return code, *self._capfd.readouterr()


@pytest.fixture
def inside(longshore: Command, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Inside:
    """Return the command for this process."""
    return Inside(longshore, monkeypatch, capfd)


@pytest.fixture
def lines() -> Callable[[bytes | str], dict[str, dict[str, Any]]]:  # Any: JSON
    """Return a reader of output lines: each input's object, by the input's name without its folder."""

    def read(data: bytes | str) -> dict[str, dict[str, Any]]:  # Any: JSON
        text = data if isinstance(data, str) else data.decode("utf-8")
        told = [json.loads(line) for line in text.splitlines()]
        named = {os.path.basename(entry["input"]): entry for entry in told}
        assert len(named) == len(told), "an input has two lines"
        return named

    return read


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Give what held functions wait for; let go at the end, whatever happens."""
    made = threading.Event()
    yield made
    made.set()


@pytest.fixture
def no_thread_is_left() -> Iterator[None]:
    """Hold a test to leave no thread of a stream behind."""
    before = set(threading.enumerate())
    yield
    wait_until(lambda: not set(sync_streams.ours()) - before, "threads of a stream to end")


class PlainProcessor:
    """A processor that does nothing but what a test changes."""

    said: Mapping[str, Any] = MappingProxyType({})

    @property
    def metadata(self) -> ProcessorMetadata:
        return ProcessorMetadata(**{"name": "p", "version": "1", "retry_count": 0, **self.said})

    @hookimpl
    def initialize(self) -> None:
        pass

    @hookimpl
    def process(self, context: ProcessorContext) -> ProcessorResult:
        return ProcessorResult(data=self.work(context))

    def work(self, context: ProcessorContext) -> dict[str, Any]:
        return {"worker": current_task().worker_id}

    @hookimpl
    def cleanup(self) -> None:
        pass

    @hookimpl
    def health_check(self) -> bool:
        return True


class AsyncProcessor(PlainProcessor):
    """The same with a coroutine."""

    @hookimpl
    async def process(self, context: ProcessorContext) -> ProcessorResult:  # type: ignore[override]  # either will do
        await asyncio.sleep(0)
        return ProcessorResult(data=self.work(context))


class Processing:
    """Processors for tests, and pools that have them."""

    Base = PlainProcessor
    AsyncBase = AsyncProcessor

    @staticmethod
    def kind(*mixins: type, coroutine: bool = False, facts: Mapping[str, Any] | None = None, **said: Any) -> type[Any]:
        """Return a processor's class with these metadata, mixed with others, and with more members."""
        made: Any = type("Made", (*mixins, AsyncProcessor if coroutine else PlainProcessor), dict(facts or {}))
        made.said = {**made.said, **said}
        return made

    @staticmethod
    @asynccontextmanager
    async def pool_of(
        *sinks: RecordingSink, workers: int = 2, executors: Mapping[str, Any] = MappingProxyType({}), **processors: Any
    ) -> AsyncIterator[WorkerPool]:
        """A pool with these processors, and a deadline over all that happens in it."""
        config = WorkerConfig(thread_workers=workers, process_workers=workers, async_workers=workers)
        pool = WorkerPool(settings=Settings(probes=(), workers=config, executors=dict(executors)), sinks=sinks)
        for name, processor in processors.items():
            pool.replace_processor(name, processor)
        async with asyncio.timeout(DEADLINE_S), pool:
            yield pool

    @staticmethod
    async def end_of(pool: WorkerPool, name: str = "p", **context: Any) -> Outcome:
        """Process one document, and return how that ended."""
        handle = await pool.process(name, ProcessorContext(**{"document_id": "d", **context}))
        return await handle.outcome()


@pytest.fixture
def processing() -> type[Processing]:
    """Return what tests of processors share."""
    return Processing


class Held:
    """What this process holds: threads, tasks of the running loop, children and open files."""

    def __init__(self) -> None:
        self.threads = set(threading.enumerate())
        self.tasks = asyncio.all_tasks()
        self.children = {child.pid for child in psutil.Process().children(recursive=True)}
        self.files = self._files()

    @staticmethod
    def _files() -> int:
        return len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0

    def more(self) -> dict[str, Any]:
        """Return what there is now beyond that; threads of the loop's own default pool are not ours."""
        gc.collect()
        grown = {
            "threads": {t.name for t in set(threading.enumerate()) - self.threads if not t.name.startswith("asyncio_")},
            "tasks": {repr(task) for task in asyncio.all_tasks() - self.tasks},
            "children": {child.pid for child in psutil.Process().children(recursive=True)} - self.children,
            "files": max(0, self._files() - self.files),
        }
        return {name: what for name, what in grown.items() if what}

    async def again(self) -> None:
        """Hold no more than then, at once or in the moment a thread takes to end."""
        give_up = time.monotonic() + 3.0
        while (more := self.more()) and time.monotonic() < give_up:
            await asyncio.sleep(0.01)
        assert not more


@pytest.fixture
def holdings() -> type[Held]:
    """Return what can be made to remember what this process holds, and compare with that later."""
    return Held


class GatedJournal(MemoryJournal):
    """A journal whose `open`, or every commit of outcomes, waits to be let through; says who calls and what is held."""

    def __init__(self, waits_in: str = "commit") -> None:
        super().__init__()
        self._waits_in = waits_in
        self._changed, self._allowed = threading.Condition(), 0
        self._errors: list[BaseException] = []
        self.held: RunOpening | CommitBatch | None = None
        self.threads: set[int] = set()

    def let(self, calls: int = 1, error: BaseException | None = None) -> None:
        """Let so many calls through; with `error`, the first of them raises it."""
        with self._changed:
            if error is not None:
                self._errors.append(error)
            self._allowed += calls
            self._changed.notify_all()

    @property
    def committed(self) -> list[Outcome]:
        """All that was recorded, in order."""
        return [outcome for batch in self.batches for outcome in batch.outcomes]

    def _wait(self, act: str, what: RunOpening | CommitBatch | None = None) -> None:
        self.threads.add(threading.get_ident())
        if act != self._waits_in:
            return
        with self._changed:
            self.held = what
            if not self._changed.wait_for(lambda: self._allowed > 0, 20.0):
                raise TimeoutError(f"the test forgot this {act}")
            self._allowed -= 1
            self.held = None
            if self._errors:
                raise self._errors.pop(0)

    @hookimpl
    def open(self, run: RunOpening) -> Recalled:
        """Wait for the test's word, if it is to, then begin."""
        self._wait("open", run)
        return super().open(run)

    @hookimpl
    def commit(self, batch: CommitBatch) -> None:
        """Wait for the test's word, if it is to, then record or raise."""
        self._wait("commit" if batch.settled else "note", batch)
        if batch.settled:  # nobody asks for notes of what runs, and of the run's end
            super().commit(batch)

    @hookimpl
    def close(self) -> None:
        """End."""
        self._wait("close")
        super().close()


@pytest.fixture
def gated_journal() -> type[GatedJournal]:
    """Return the class, which test modules cannot import."""
    return GatedJournal
