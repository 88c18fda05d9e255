"""A sink that tells a chat room how a run goes: when it began, what failed, how it ended."""

from example_chat._sink import ChatSink

__all__ = ["ChatSink"]
