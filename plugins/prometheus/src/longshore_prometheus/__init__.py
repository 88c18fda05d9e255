"""longshore-prometheus: the sink `prometheus`, which serves the figures of a run for Prometheus to scrape."""

from longshore_prometheus._sink import PrometheusSink

__all__ = ["PrometheusSink"]
