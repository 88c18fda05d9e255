"""For the tests of plugins and of programs that use longshore: fakes that keep the contracts.

`FakeClock`, `ManualExecutor`, `MemoryJournal`, `RecordingSink` and `ScriptedProbe` stand in for the real things. They
wait on conditions with a deadline, and never sleep. `FakeSystem` builds the files of a machine, for what reads them.
`recording` writes down what the engine of a pool was told and decided, `replay` decides it again.
"""

from longshore.testing.clock import FakeClock
from longshore.testing.executor import ManualExecutor
from longshore.testing.journal import MemoryJournal
from longshore.testing.probe import ScriptedProbe
from longshore.testing.replay import Replay, recording, replay
from longshore.testing.sink import RecordingSink
from longshore.testing.system import FakeSystem

__all__ = [
    "FakeClock",
    "FakeSystem",
    "ManualExecutor",
    "MemoryJournal",
    "RecordingSink",
    "Replay",
    "ScriptedProbe",
    "recording",
    "replay",
]
