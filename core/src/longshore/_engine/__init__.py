"""Decides: what has happened goes in, what to do next comes out; no clock, no thread, no I/O (see `engine`)."""
