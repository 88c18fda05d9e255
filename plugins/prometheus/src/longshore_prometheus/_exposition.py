"""The text that is served: what the client accepts comes in, the metrics in that format go out."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client.exposition import choose_encoder, generate_latest
from prometheus_client.registry import Collector

from longshore_prometheus._figures import FRESH_S

TEXT = "text/plain; version=0.0.4; charset=utf-8"
_TYPES_MOST = 8


class Exposition:
    """Writes the metrics of a collector in the text format of Prometheus, or in OpenMetrics where that is accepted.

    Called on the listener's thread alone. What was written counts as new for FRESH_S.
    """

    def __init__(self, collector: Collector, clock: Callable[[], float] = time.monotonic) -> None:
        """Write this collector's metrics."""
        self._collector = collector
        self._clock = clock
        self._written: dict[str, tuple[float, bytes]] = {}
        self.over = False
        """Set once the figures are the last ones: what was written before no longer counts."""
        self._last = False

    def write(self, accepted: str) -> tuple[str, bytes]:
        """Return content type and body for a client that accepts these types."""
        if self.over and not self._last:
            self._last = True
            self._written.clear()
        encode, kind = _encoder(accepted)
        now = self._clock()
        at, body = self._written.get(kind, (-FRESH_S, b""))
        if now - at < FRESH_S:
            return kind, body
        body = encode(self._collector)
        if len(self._written) >= _TYPES_MOST:
            self._written.clear()
        self._written[kind] = now, body
        return kind, body


def _encoder(accepted: str) -> tuple[Callable[[Collector], bytes], str]:
    """Return what writes a format that is accepted, and its content type; the text format where nothing fits."""
    try:
        encode, kind = choose_encoder(accepted)
    except (ValueError, IndexError, TypeError):  # a version that is no number, and other nonsense
        return _plain, TEXT
    return encode, kind


def _plain(collector: Collector) -> bytes:
    return generate_latest(collector)
