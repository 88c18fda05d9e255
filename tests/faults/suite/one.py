"""One scenario in this process: tried, judged, and its verdict written to a file."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import importlib
import inspect
import json
import os
import signal
import traceback
from pathlib import Path
from time import monotonic
from typing import Any

from suite import leaks
from suite.registry import SCENARIOS, Scenario
from suite.trial import Skipped, Trial

MODULES = tuple(sorted(path.stem for path in Path(__file__).parents[1].joinpath("scenarios").glob("*.py")))


def load() -> dict[str, Scenario]:
    """Return all scenarios, by id."""
    for name in MODULES:
        importlib.import_module(f"scenarios.{name}")
    return dict(sorted(SCENARIOS.items(), key=lambda entry: _place(entry[0])))


def _place(scenario_id: str) -> tuple[int, str, int]:
    letters = scenario_id.rstrip("0123456789")
    digits = scenario_id[len(letters) :]
    return len(letters), letters, int(digits or 0)  # the groups of the catalogue first


def try_one(scenario_id: str, *, long: bool, seed: int, verdict: Path) -> None:
    """Try a scenario here, in the current folder, and write what came of it."""
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # what is sent when the time is over
    _hear_signals()
    scenario = load()[scenario_id]
    trial = Trial(long, Path.cwd(), seed)
    before, began = leaks.Belongings(), monotonic()
    skipped = error = ""
    try:
        made = scenario.call(trial)
        if inspect.isawaitable(made):
            asyncio.run(_awaited(made))
    except Skipped as reason:
        skipped = str(reason)
    except BaseException:
        error = traceback.format_exc()
    took_s = monotonic() - began
    gc.collect()
    more = before.more()
    trial.add("leaks", len(more))
    trial.notes += more
    since = monotonic()
    _, left = leaks.gone_after(leaks.tokened, since)
    trial.add("orphans", left)
    trial.conclude()
    facts: dict[str, Any] = {
        "took_s": round(took_s, 2),
        "figures": trial.figures,
        "missed": trial.missed,
        "notes": trial.notes[:20],
        "skipped": skipped,
        "error": error,
    }
    verdict.write_text(json.dumps(facts), encoding="utf-8")
    os._exit(0)  # what hangs at exit is O8's to find


def _hear_signals() -> None:
    """Have signals do what they usually do: whoever started this may have had them ignored, as `nohup` does."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


async def _awaited(made: Any) -> None:
    await made
