"""longshore-dashboard: the sink `dashboard`, which shows a run in the browser, live or from its journal."""

from longshore_dashboard._sink import DashboardSink

__all__ = ["DashboardSink"]
