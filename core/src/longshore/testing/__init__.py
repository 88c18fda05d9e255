"""For the tests of plugins and of programs that use longshore: fakes that keep the contracts, suites that check them.

`FakeClock`, `ManualExecutor`, `MemoryJournal`, `RecordingSink` and `ScriptedProbe` stand in for the real things. They
wait on conditions with a deadline, and never sleep. `FakeSystem` builds the files of a machine, for what reads them.
`recording` writes down what the engine of a pool was told and decided, `replay` decides it again.

`ExecutorConformance` and its like, one for each kind of plugin, are suites of tests that a plugin's own tests inherit;
they need pytest. `plugin_host` serves the plugins that it is handed, whatever is installed, and `tmp_plugin` installs a
distribution for a while. `CollectingHost` and `Rig` drive an executor without a pool.

Each name is loaded when it is first asked for: a worker that runs a function of a suite loads none of the rest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longshore.testing._replay import Replay as Replay
    from longshore.testing._replay import recording as recording
    from longshore.testing._replay import replay as replay
    from longshore.testing.clock import FakeClock as FakeClock
    from longshore.testing.conformance import ExecutorConformance as ExecutorConformance
    from longshore.testing.conformance import JournalConformance as JournalConformance
    from longshore.testing.conformance import ProbeConformance as ProbeConformance
    from longshore.testing.conformance import ProcessorConformance as ProcessorConformance
    from longshore.testing.conformance import SinkConformance as SinkConformance
    from longshore.testing.conformance._host import CollectingHost as CollectingHost
    from longshore.testing.conformance._host import Rig as Rig
    from longshore.testing.executor import ManualExecutor as ManualExecutor
    from longshore.testing.journal import MemoryJournal as MemoryJournal
    from longshore.testing.plugins import TmpPlugin as TmpPlugin
    from longshore.testing.plugins import plugin_host as plugin_host
    from longshore.testing.plugins import tmp_plugin as tmp_plugin
    from longshore.testing.probe import ScriptedProbe as ScriptedProbe
    from longshore.testing.sink import RecordingSink as RecordingSink
    from longshore.testing.system import FakeSystem as FakeSystem

_HOMES = {
    "longshore.testing._replay": "Replay recording replay",
    "longshore.testing.clock": "FakeClock",
    "longshore.testing.conformance": "ExecutorConformance JournalConformance ProbeConformance ProcessorConformance "
    "SinkConformance",
    "longshore.testing.conformance._host": "CollectingHost Rig",
    "longshore.testing.executor": "ManualExecutor",
    "longshore.testing.journal": "MemoryJournal",
    "longshore.testing.plugins": "TmpPlugin plugin_host tmp_plugin",
    "longshore.testing.probe": "ScriptedProbe",
    "longshore.testing.sink": "RecordingSink",
    "longshore.testing.system": "FakeSystem",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    """Load a public name from its home."""
    if name not in _HOME:
        raise AttributeError(f"module 'longshore.testing' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return list(__all__)
