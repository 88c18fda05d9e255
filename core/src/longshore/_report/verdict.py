"""What became of a run, in a sentence or two; pure."""

from __future__ import annotations

from longshore._report.analysis import Material, sentence, totals
from longshore._report.records import RunFacts, Verdict
from longshore._report.words import listed, number, plural, seconds

_CODES = {"longshore.cli.console.UsageError": 2, "longshore.errors.SettingsError": 2, "BrokenPipeError": 141}
"""What the command ends with for what was raised, where that is not 4."""


def verdict(material: Material) -> Verdict:
    """Return what became of the run."""
    sums, run = totals(material), material.run
    failed = sums.failed + sums.timed_out
    whole = f"all {sums.tasks:,} tasks" if sums.tasks > 1 and sums.completed == sums.tasks else ""
    parts = [f"{whole or f'{sums.completed:,} of ' + plural(sums.tasks, 'task')} completed"]
    parts += [f"{sums.failed:,} failed"] if sums.failed else []
    parts += [f"{sums.timed_out:,} timed out"] if sums.timed_out else []
    parts += [f"{sums.cancelled:,} cancelled"] if sums.cancelled else []
    parts += [f"{sums.unfinished:,} without an end"] if sums.unfinished else []
    parts += [f"{plural(sums.failed_inputs, 'input')} failed outside of tasks"] if sums.failed_inputs else []
    told = f"{listed(parts)} in {seconds(sums.wall_s)}, {number(sums.rate_per_s)} a second."
    if sums.left_inputs:
        told += f" {plural(sums.left_inputs, 'input')} {'has' if sums.left_inputs == 1 else 'have'} no result."
    good = run.state == "completed" and not failed and not sums.cancelled and not sums.failed_inputs
    code, meaning = _exit(run, good=good)
    begun = "" if run.state == "completed" else f"{run.state.capitalize()}: "
    return Verdict(text=sentence(f"{begun}{told} {meaning}".strip()), good=good, exit_code=code)


def _exit(run: RunFacts, *, good: bool) -> tuple[int | None, str]:
    """Return the exit code of the command, where it was that, and the end in words."""
    why = f"It ended with a fault: {run.error.rstrip('.')}" if run.error else "The pool itself failed"
    meanings = {
        "completed": (0, "All went well") if good else (1, "Some failed"),
        "failed": (_CODES.get(run.error_type, 4), why),
        "stopped": (None, "It was stopped before all was done"),
        "interrupted": (None, "Its process was killed, or the machine went down"),
        "running": (None, "It goes on; this is how it stands"),
    }
    code, meaning = meanings.get(run.state, (None, ""))
    if not run.commanded:
        return None, f"{meaning}." if meaning else ""
    told = {"stopped": " (exit code 3 by a limit, 130 or 143 by a signal)"}
    return code, f"{meaning}{told.get(run.state, '') if code is None else f' (exit code {code})'}."
