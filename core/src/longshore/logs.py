"""Log records that say which task they are of."""

from __future__ import annotations

import logging

from longshore.worker import current_task


class TaskLogFilter(logging.Filter):
    """Gives each record `task_id`, `task_name` and `worker_id`, so that formats may use them; it lets all through.

    Add it to a handler: `handler.addFilter(TaskLogFilter())`. A filter of a logger would not see the records of loggers
    below it. The three are None outside of tasks. Records from worker processes have them already. A handler that
    passes records on to another thread must have the filter itself: there nobody knows the task any more.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whose record it is; always True."""
        if not hasattr(record, "task_id"):
            try:
                task = current_task()
            except RuntimeError:
                record.task_id = record.task_name = record.worker_id = None
            else:
                record.task_id, record.task_name, record.worker_id = task.task_id, task.name, task.worker_id
        return True


__all__ = ["TaskLogFilter"]
