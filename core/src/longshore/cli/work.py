"""The work of one `longshore run`: feed a pool, write a line for each input, heed signals and limits, sum up."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from types import FrameType
from typing import Any

from longshore._calling import result_json
from longshore._diagnosis_signal import install_diagnostics
from longshore._pipelines import PipelineStream
from longshore.cli import lines as out
from longshore.cli.console import ExitCode, UsageError, say
from longshore.cli.guard import Guard
from longshore.cli.job import Job
from longshore.cli.lines import Lines
from longshore.cli.output import Output
from longshore.cli.recorded import failed_input
from longshore.cli.tally import Tally
from longshore.errors import JournalError, LongshoreError, PayloadError
from longshore.pipeline import PipelineResult
from longshore.pool import WorkerPool
from longshore.records import RunSummary
from longshore.task import ErrorRecord, TaskState
from longshore.worker import type_name

_AT_ONCE_S = 3.0
"""How long stopping at once may take before the process simply leaves; workers end when it is gone."""
_TERM_GRACE_S = 5.0
"""So long may what runs go on after SIGTERM or SIGHUP: with the above that is less than the 10 s that Docker waits."""
_CANCELLED = ("longshore.errors.TaskCancelled", "cancelled")
_CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}
if sys.platform != "win32":
    _CODES[signal.SIGHUP] = ExitCode.HANGUP


def _timer(delay_s: float, call: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(delay_s, call)
    timer.daemon = True
    timer.start()
    return timer


def _untold(summary: RunSummary | None) -> list[str]:
    """Return the notes of a run that the terminal's sink has not told."""
    if summary is None:
        return []
    rich = any(sink.name == "rich" and sink.state == "ok" for sink in summary.snapshot.sinks)
    return list(summary.late if rich else summary.notes)


def _diagnosed(pool: WorkerPool) -> AbstractContextManager[object]:
    """Have SIGUSR1 tell where all is, on stderr and in the folder of the run; where that can't be, do without."""
    try:
        return install_diagnostics(pool)
    except (ValueError, RuntimeError, OSError):  # the user's own handler, no such signals, no more descriptors
        return nullcontext()


async def work(job: Job, output: Output) -> ExitCode:
    """Run the job, and return the exit code; every input has its line, however the run ends."""
    return await _Work(job, output).run()


def _failed_by_task(result: PipelineResult) -> bool:
    """Tell whether a document ended as a task of its did, which the journal has then."""
    failure = result.failure
    return failure is not None and bool(failure.task_id) and failure.state in (TaskState.FAILED, TaskState.TIMED_OUT)


class _Work:
    def __init__(self, job: Job, output: Output) -> None:
        self._job = job
        self._output = output
        self._lines: Lines | None = None
        self._guard = Guard()
        self._run_id: str | None = None
        self._before = 0  # failures of earlier times: they don't count for the limit
        self._tally = Tally()
        self._left = dict.fromkeys(range(len(job.paths)))
        self._signal: signal.Signals | None = None
        self._limited = False
        self._stream: PipelineStream | None = None
        self._leaving: threading.Timer | None = None
        self._patience: threading.Timer | None = None
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None, "made outside of a coroutine"
        self._task = task

    async def run(self) -> ExitCode:
        began = time.monotonic()
        notes: list[str] = []
        failure: LongshoreError | None = None
        with self._signals(), ExitStack() as stack:
            if self._resumes is None:
                self._open(stack)
            try:
                notes = await self._through_pool(stack)
            except LongshoreError as error:  # the pool's own end, or a plugin it could not do without
                if self._lines is None or not self._lines.begun:
                    raise  # it never ran: there is nothing to tell of any input
                failure = error
                self._leave_out((type_name(error), "the run failed"))
            except asyncio.CancelledError:
                if self._leaving is None:
                    self._leave_out(_CANCELLED)
                    raise
            self._leave_out(_CANCELLED)
        return self._end(time.monotonic() - began, notes, failure)

    def _end(self, elapsed_s: float, notes: list[str], failure: LongshoreError | None) -> ExitCode:
        self._sum_up(elapsed_s, notes)
        for timer in (self._patience, self._leaving):
            if timer is not None:
                timer.cancel()
        if failure is not None:
            raise failure
        return self._code()

    @property
    def _resumes(self) -> str | None:
        return self._job.keeping.resume if self._job.keeping is not None else None

    def _open(self, stack: ExitStack) -> None:
        """Open the output; of a run that goes on, once nobody else can, and less the inputs that have their line."""
        job, resumes = self._job, self._resumes
        self._lines, done, self._guard = stack.enter_context(self._output.opened(resumed=resumes is not None))
        if resumes is None:
            self._note_left()
            return
        had = {path: done[path] for path in job.paths if path in done}
        self._tally.counts.update(had.values())
        self._before = self._tally.failed
        self._job = job.without(had)
        self._left = dict.fromkeys(range(len(self._job.paths)))
        self._note_left()
        if job.progress != "json":
            say(f"longshore: going on with run {resumes}: {len(had)} of {len(job.paths)} inputs have their line")
            if job.limit is not None:
                say(f"longshore: --max-failures counts from here: {self._before} that failed before are not in it")

    async def _started(self) -> WorkerPool:
        """Return a pool that is started; without a journal that nobody asked for, where that can't be opened."""
        job, keeping = self._job, self._job.keeping
        facts: dict[str, Any] = {"name": job.name, "view": job.progress, "interactive": True}  # Any: the pool's
        if keeping is not None:
            facts |= {"resume": keeping.resume, "resume_failed": keeping.failed}
            pool = WorkerPool(settings=job.settings, journal=keeping.journal, **facts)
            try:
                await pool.start()
            except JournalError as error:
                if keeping.asked or keeping.resume is not None:
                    raise
                say(f"note: nothing is recorded: {error}")
            else:
                self._run_id = pool.run_id
                return pool
        pool = WorkerPool(settings=job.settings, **{**facts, "journal": False, "resume": None})
        await pool.start()
        return pool

    async def _through_pool(self, stack: ExitStack) -> list[str]:
        pool = await self._started()
        async with pool:
            stack.enter_context(_diagnosed(pool))
            self._tell_run()
            if self._lines is None:
                self._open(stack)
            self._guard.tell(self._run_id)
            await self._feed(pool)
        return _untold(pool.summary)

    def _tell_run(self) -> None:
        if self._run_id is not None and self._resumes is None and self._job.progress != "json":
            say(f"longshore: recorded as run {self._run_id}")

    async def _feed(self, pool: WorkerPool) -> None:
        job = self._job
        inputs, expected_s = len(job.usable), job.expected_s()
        async with pool.run_pipeline(job.pipeline, job.documents(), total=inputs, expected_s=expected_s) as stream:
            self._stream = stream
            self._refuse_unusable()
            if self._limited or self._signal is not None:
                self._stop()
            try:
                async for result in stream:
                    self._record(result)
            except asyncio.CancelledError:
                self._leave_out(_CANCELLED)  # now: what is left of the time may not suffice for more
                raise
            except ValueError as error:  # an option that an executor cannot honour
                raise UsageError(str(error)) from error
            finally:
                if self._job.keeping is not None:
                    self._job.keeping.journal.cut_short = bool(self._signal or self._limited)

    def _record(self, result: PipelineResult) -> None:
        """Write the line of a document that has ended."""
        state, error, text, record = result.state, None, "null", None
        if result.failure is not None:
            record = result.failure.error
            error = out.error_facts(record, state)
        elif state is TaskState.COMPLETED:
            try:
                text = result_json(result.value)
            except PayloadError as refusal:
                state, error = TaskState.FAILED, out.payload_facts(refusal)
        if result.failure is not None and result.failure.restored and state is not TaskState.CANCELLED:
            self._before += 1
        self._write(result.index, state, text, error, record, by_task=_failed_by_task(result))
        self._heed_limit()

    def _refuse_unusable(self) -> None:
        """Write the lines of names that are no files: they fail, and nothing is called for them."""
        for index, reason in enumerate(self._job.unusable.values(), len(self._job.usable)):
            self._write(index, TaskState.FAILED, "null", ("FileNotFoundError", reason))
        self._heed_limit()

    def _heed_limit(self) -> None:
        limit = self._job.limit
        if limit is not None and not self._limited and self._tally.failed - self._before >= limit.failures:
            self._limited = True
            say(f"longshore: {self._tally.failed - self._before} failed: stopping, as --max-failures says")
            self._stop()

    def _write(
        self,
        index: int,
        state: TaskState,
        text: str,
        error: tuple[str, str] | None,
        record: ErrorRecord | None = None,
        *,
        by_task: bool = False,
    ) -> None:
        """Write the line of an input, once; `by_task` says that a task of its failed, so that the journal knows."""
        if self._lines is None or self._left.pop(index, index) is not None:
            return  # the thread that leaves was here before
        name = self._job.paths[index]
        said = (record.output_tail, record.fingerprint) if record is not None else ()
        self._tally.add(name, state, error, *said)
        if self._job.keeping is not None:
            self._job.keeping.journal.note_input(name, None if by_task else failed_input(name, state, error))
        self._lines.write(out.line(name, state, text, error))
        self._note_left()  # now: a line that could not be written is none

    def _note_left(self) -> None:
        """Have the journal know how many inputs have no result: a line that says "cancelled" is none."""
        if self._job.keeping is not None:
            self._job.keeping.journal.left_inputs = len(self._left) + self._tally.counts[TaskState.CANCELLED]

    def _leave_out(self, error: tuple[str, str]) -> None:
        for index in list(self._left):
            self._write(index, TaskState.CANCELLED, "null", error)

    def _stop(self) -> None:
        if self._stream is not None:
            self._stream.stop()

    # ---- signals

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Heed signals also while the loop is blocked by a task: hence handlers of the interpreter, not of the loop."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # Under nohup a hangup is ignored, and goes on to be.
        heard = [name for name in _CODES if name is signal.SIGINT or signal.getsignal(name) is not signal.SIG_IGN]
        before = {name: signal.signal(name, self._signalled) for name in heard}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        """Drain at the first signal, stop at the second, leave at the third."""
        if self._signal is None:
            self._signal = signal.Signals(number)
            grace_s = self._grace_s()
            if grace_s is not None:  # on a thread: the loop may be blocked by a task
                self._patience = _timer(grace_s, self._at_once)
            self._loop.call_soon_threadsafe(self._drain)
        elif self._leaving is None:
            self._at_once()
        else:
            self._exit()

    def _grace_s(self) -> float | None:
        """Return how long what runs may go on after the first signal; None for as long as it takes."""
        if self._job.grace_s is not None:
            return self._job.grace_s
        return None if self._signal is signal.SIGINT else _TERM_GRACE_S

    def _drain(self) -> None:
        name = self._signal.name if self._signal is not None else ""
        grace_s = self._grace_s()
        within = "" if grace_s is None else f" within {grace_s:g} s"
        self._stop()
        told = f"longshore: {name}: what is running may end{within}, nothing new is begun"
        left = f"{len(self._left)} of {len(self._job.paths)} inputs are left"
        say(f"{told}; {left}; once more stops at once{self._how_to_go_on('; ')}")

    def _how_to_go_on(self, before: str) -> str:
        """Return what to call to go on with the run, empty where nothing is recorded."""
        keeping = self._job.keeping
        if keeping is None or self._run_id is None:
            return ""
        return f"{before}to go on: longshore resume {self._run_id}{keeping.option}"

    def _at_once(self) -> None:
        """Cancel what runs, and see to it that the process leaves soon, whatever that takes."""
        if self._leaving is None:
            self._leaving = _timer(_AT_ONCE_S, self._leave)
            with suppress(RuntimeError):  # the loop is closed: all is over
                self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        say("longshore: stopping at once: what still runs is ended")
        self._task.cancel()

    def _leave(self) -> None:
        """Leave without the loop, which did not come to it in time."""
        with suppress(Exception):
            self._leave_out(_CANCELLED)
            left = self._tally.counts[TaskState.CANCELLED]
            say(f"longshore: stopped with {left} inputs left{self._how_to_go_on('; ')}")
        self._exit()

    def _exit(self) -> None:
        """End the process here and now, with the cursor that a live view has hidden."""
        with suppress(OSError):
            if os.isatty(2):
                os.write(2, b"\x1b[?25h")
        os._exit(self._code())

    # ---- the end

    def _sum_up(self, elapsed_s: float, notes: list[str]) -> None:
        if self._job.progress == "json":
            say(self._tally.json(elapsed_s, self._run_id))
            return
        for note in notes:
            say(f"note: {note}")
        for text in self._tally.lines(elapsed_s, len(self._job.pipeline.steps)):
            say(text)
        cancelled = self._tally.counts[TaskState.CANCELLED]
        if cancelled and (self._signal or self._limited):
            say(f"longshore: stopped with {cancelled} inputs left{self._how_to_go_on('; ')}")

    def _code(self) -> ExitCode:
        if self._signal is not None:
            return _CODES[self._signal]
        if self._limited:
            return ExitCode.LIMIT
        return ExitCode.OK if self._tally.counts[TaskState.COMPLETED] == self._tally.ended else ExitCode.SOME_FAILED
