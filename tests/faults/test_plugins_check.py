"""The check loads each plugin in a process of its own: whatever one does there costs a line, never the command."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
from longshore._plugins import contract
from longshore.errors import PluginError
from longshore.hookspecs import hookimpl, hookspec
from longshore.plugins import PluginHost, PluginState
from longshore.testing import plugin_host

GOOD = """
from longshore.hookspecs import hookimpl

class Sink:
    @hookimpl
    def open(self, run): ...
    @hookimpl
    def on_events(self, batch): ...
    @hookimpl
    def close(self, summary): ...
"""


@pytest.fixture
def host(fake_distributions: Any, tmp_path: Path) -> Callable[[], PluginHost]:
    """Make hosts over the fake distributions."""
    return lambda: plugin_host(*fake_distributions.plugins, failures=tmp_path / "failures.json")


@pytest.mark.requirement("req:K03")
def test_the_check_names_every_broken_plugin_and_the_healthy_one(
    fake_distributions: Any, host: Callable[[], PluginHost]
) -> None:
    """SystemExit at import, a misspelt hook, an unmarked method, another core version, two distributions with one
    name: each has its state, reason and distribution, and the healthy one its load time.
    """
    fake_distributions.add("exits", "print('noise')\nraise SystemExit(3)", sinks={"exits": "Sink"})
    fake_distributions.add("misspelt", GOOD.replace("on_events", "on_event"), sinks={"misspelt": "Sink"})
    fake_distributions.add(
        "unmarked", GOOD.replace("@hookimpl\n    def close", "def close"), sinks={"unmarked": "Sink"}
    )
    fake_distributions.add("future", GOOD, requires=["longshore-core>=99"], sinks={"future": "Sink"})
    fake_distributions.add("rival-a", GOOD, sinks={"rival": "Sink"})
    fake_distributions.add("rival-b", GOOD, sinks={"rival": "Sink"})
    fake_distributions.add("healthy", GOOD, sinks={"healthy": "Sink"})
    results = {result.distribution: result for result in host().check()}
    assert {name: result.state.value for name, result in results.items()} == {
        "exits": "failed",
        "misspelt": "failed",
        "unmarked": "failed",
        "future": "incompatible",
        "rival-a": "conflict",
        "rival-b": "conflict",
        "healthy": "loaded",
    }
    assert results["exits"].reason == "its import raised SystemExit: 3"
    assert "SystemExit" in str(results["exits"].error)
    assert "did you mean on_events?" in results["misspelt"].reason
    assert results["unmarked"].reason == "method close of Sink is not marked with @hookimpl"
    assert "longshore-core>=99" in results["future"].reason
    assert "rival-a and rival-b" in results["rival-a"].reason
    healthy = results["healthy"]
    assert healthy.ok
    assert healthy.reason == ""
    assert healthy.load_ms is not None
    assert healthy.load_ms > 0
    assert fake_distributions.imported() == {f"tmp_{name}" for name in ("exits", "misspelt", "unmarked", "healthy")}


def test_what_the_check_found_is_in_the_next_listing(fake_distributions: Any, host: Callable[[], PluginHost]) -> None:
    """A listing, which imports nothing, tells what the last check found."""
    fake_distributions.add("exits", "raise SystemExit(3)", sinks={"exits": "Sink"})
    host().check()
    (candidate,) = host().candidates()
    assert (candidate.state, candidate.reason) == (
        PluginState.AVAILABLE,
        "(last failure: its import raised SystemExit: 3)",
    )


@pytest.mark.parametrize(
    ("code", "words", "error"),
    [
        (
            "import os, sys\nprint('about to go', file=sys.stderr, flush=True)\nos._exit(7)",
            "exit code 7",
            "about to go",
        ),
        ("import os\nos._exit(0)", "exit code 0", None),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV", "Segmentation fault"),
    ],
)
def test_a_plugin_that_ends_the_interpreter_costs_only_its_line(
    fake_distributions: Any, host: Callable[[], PluginHost], code: str, words: str, error: str | None
) -> None:
    """A crash at import is named by exit code or signal, with what was said on the way."""
    fake_distributions.add("crashes", code, sinks={"crashes": "Sink"})
    (result,) = host().check("sinks", "crashes")
    assert result.state is PluginState.FAILED
    assert "it ended the interpreter while it was loaded" in result.reason
    assert words in result.reason
    assert (error is None and result.error is None) or (error is not None and error in str(result.error))
    assert result.load_ms is None


@pytest.mark.slow
def test_a_plugin_that_hangs_at_import_is_stopped_with_all_it_started(
    fake_distributions: Any, host: Callable[[], PluginHost], tmp_path: Path
) -> None:
    """The deadline holds: the process and its descendants are gone when the check returns."""
    noted = tmp_path / "pids"
    code = f"""
import os, subprocess, sys, threading
child = subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait(60)"])
with open({str(noted)!r}, "w") as file:
    file.write(f"{{os.getpid()}} {{child.pid}}")
threading.Event().wait(60)
"""
    fake_distributions.add("hangs", code, sinks={"hangs": "Sink"})
    for deadline_s in (2.0, 15.0):  # the longer one for a machine too busy to start Python in the shorter
        (result,) = host().check(deadline_s=deadline_s)
        assert result.state is PluginState.FAILED
        assert result.reason == f"it was not loaded within {deadline_s:g} s, and was stopped"
        if noted.exists():
            break
    for pid in map(int, noted.read_text().split()):
        assert _gone(pid), pid


def test_a_thread_left_behind_does_not_hold_the_check(fake_distributions: Any, host: Callable[[], PluginHost]) -> None:
    """A plugin that starts a thread that never ends is still checked and done with."""
    code = "import threading\nthreading.Thread(target=threading.Event().wait, args=(60,)).start()\n"
    fake_distributions.add("threads", code + GOOD, sinks={"threads": "Sink"})
    (result,) = host().check(deadline_s=20)
    assert result.ok


def test_a_class_that_needs_no_settings_is_made_too(fake_distributions: Any, host: Callable[[], PluginHost]) -> None:
    """The check sees a missing attribute, which only an instance shows; one with required settings is not made."""
    probe = "from longshore.hookspecs import hookimpl\nclass P:\n    @hookimpl\n    def read(self, request): ...\n"
    settings = "from pydantic import BaseModel\nclass S(Sink):\n    class Settings(BaseModel):\n        path: str\n"
    fake_distributions.add("bare", probe, probes={"bare": "P"})
    fake_distributions.add("needs", GOOD + settings, sinks={"needs": "S"})
    bare, needs = host().check()
    assert bare.state is PluginState.FAILED
    assert "attribute resources is missing" in bare.reason
    assert needs.ok


def test_checking_an_unknown_name_says_what_to_try(host: Callable[[], PluginHost]) -> None:
    """The check answers a name nobody provides as loading it does."""
    for kind in ("sinks", None):
        with pytest.raises(PluginError, match="pip install longshore-rich"):
            host().check(kind, "rich")


def _gone(pid: int) -> bool:
    """Wait at most 5 s for the process to be gone, or a zombie of somebody else's."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False


def test_a_check_tells_what_a_plugin_uses_that_is_deprecated(
    fake_distributions: Any, host: Callable[[], PluginHost]
) -> None:
    """Each such line of the plugin's own file is named once, those of what it imports are not, and it can be used."""
    code = """
import ast, warnings
warnings.warn("acme is deprecated since 0.2, and goes in 0.4", DeprecationWarning)
warnings.warn_explicit("not the plugin's own", DeprecationWarning, ast.__file__, 1)
warnings.warn("no deprecation", UserWarning)
"""
    fake_distributions.add("old", code + GOOD, sinks={"old": "Sink"})
    (result,) = host().check()
    assert result.ok
    (line,) = result.warnings
    assert line.endswith("_old.py:4: acme is deprecated since 0.2, and goes in 0.4")


def test_a_deprecated_method_of_a_contract_is_told_of_where_a_plugin_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A spec that warns of being implemented warns at the plugin's own method, while the plugin is still taken."""

    class Old(Protocol):
        @hookspec(warn_on_impl=DeprecationWarning("toml is deprecated since 0.2, and goes in 0.4"))
        def toml(self) -> str: ...

    class Plugin:
        @hookimpl
        def toml(self) -> str:
            return ""

    monkeypatch.setattr(contract, "PROTOCOLS", {"pipelines": Old})
    with pytest.warns(DeprecationWarning, match="goes in 0.4") as told:
        assert contract.class_problems("pipelines", Plugin) == []
    assert told[0].filename == __file__
