"""longshore-rich: the sink `rich`, which shows a run on the terminal, alive or as lines for a log."""

from longshore_rich._sink import RichSink

__all__ = ["RichSink"]
