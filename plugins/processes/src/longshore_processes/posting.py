"""Which worker gets a task on GPUs: a worker keeps to its devices.

CUDA looks at its variables once in a process, when it is first used there, and what an initializer has loaded lies on
the devices that were visible then. So a worker that has run a task on some devices is given no task on others.

Used on the supervisor's thread only.
"""

from __future__ import annotations

from longshore_processes.crew import Crew
from longshore_processes.handle import Handle


def settled(crew: Crew, gpus: tuple[int, ...], now: float, leave_s: float) -> Handle | None:
    """Return an idle worker for a task on these devices: one that has run on them, else one that has run on none.

    Where there is neither, one is started, and if that needs a place, one that has run on
    others is let go for it, with `leave_s` seconds to clean up. None if the task has to wait.
    """
    if crew.is_full():
        return None
    idle = [handle for handle in crew.handles.values() if handle.idle() and handle.has_room()]
    found = next((handle for handle in idle if handle.gpus == gpus), None)
    found = found or next((handle for handle in idle if not handle.gpus), None) or crew.hire(now)
    if found is None and idle:
        idle[0].leave_at = now + leave_s
        idle[0].retire()
        found = crew.hire(now)
    return found
