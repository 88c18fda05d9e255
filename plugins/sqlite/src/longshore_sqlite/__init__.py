"""longshore-sqlite: the journal `sqlite`, which keeps what became of a run's tasks so that the run can go on."""

from longshore_sqlite._archive import SqliteArchive
from longshore_sqlite._journal import SqliteJournal

__all__ = ["SqliteArchive", "SqliteJournal"]
