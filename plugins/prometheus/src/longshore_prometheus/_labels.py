"""Values of labels: names of tasks and errors come in, few, short and printable ones go out, whatever they hold."""

from __future__ import annotations

import threading

OTHER = "(other)"
"""Stands for all values past the limit, as in the run's own snapshot."""
VALUE_CHARS = 128
"""Characters after which a value is cut."""


class Labels:
    """The values that one label may have: the first `most` that are seen, then OTHER; safe between threads.

    Each value is a time series, or dozens of them in a histogram, for as long as Prometheus keeps its data.
    """

    def __init__(self, most: int) -> None:
        """Have none yet."""
        self._most = most
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}

    def of(self, raw: str) -> str:
        """Return the value that stands for this name."""
        key = raw[: 2 * VALUE_CHARS]  # so that what is kept has a bound
        known = self._known.get(key)
        return known if known is not None else self._new(key)

    def _new(self, key: str) -> str:
        with self._lock:
            if key in self._known or len(self._known) < self._most:
                return self._known.setdefault(key, cleaned(key))
        return OTHER


def cleaned(raw: str) -> str:
    """Return a name as one short line of printable text; what is not printable is written as its escape."""
    text = raw if len(raw) <= VALUE_CHARS else f"{raw[: VALUE_CHARS - 1]}…"
    if not text.isprintable():  # control and bidi characters, line ends, lone surrogates
        text = "".join(each if each.isprintable() else _escaped(each) for each in text)
    return text or "(unnamed)"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")
