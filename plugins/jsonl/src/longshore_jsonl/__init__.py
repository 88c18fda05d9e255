"""longshore-jsonl: the sink `jsonl`, which writes the events of a run to a file, one JSON object a line."""

from longshore_jsonl._sink import JsonlSink

__all__ = ["JsonlSink"]
