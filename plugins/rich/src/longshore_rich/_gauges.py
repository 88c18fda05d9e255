"""What the machine is at: usage by resource comes in, a few words for each go out; pure."""

from __future__ import annotations

from collections.abc import Mapping

from longshore.records import Usage

from longshore_rich._text import Glyphs, bar, megabytes, percent


def gauges(usage: Mapping[str, Usage], glyphs: Glyphs, *, cells: int = 0) -> list[str]:
    """Return a gauge for each resource, with a bar of `cells` where it has a bound; a disk's two ways are one.

    Pressure is no resource: where it holds work back, the line on throttling says so.
    """
    resources = [key for key in usage if "_io." not in key and not key.startswith("pressure.")]
    told = [_gauge(key, usage[key], glyphs, cells) for key in resources]
    for key in ("disk_io", "network_io"):
        moved = [used.used for name, used in usage.items() if name.startswith(f"{key}.")]
        if moved:
            told.append(f"{key.partition('_')[0]} {megabytes(sum(moved))}/s")
    return told


def _gauge(key: str, usage: Usage, glyphs: Glyphs, cells: int) -> str:
    if "memory" in key:
        of = f"/{megabytes(usage.capacity)}" if usage.capacity else ""
        amount = f"{megabytes(usage.used)}{of}"
    else:
        amount = percent(usage.used, usage.capacity) or f"{usage.used:.1f}"
    parts = [glyphs.clean(key, 30), amount]
    parts += [bar(usage.used, usage.capacity, cells, glyphs)] if usage.capacity and cells else []
    return " ".join(parts)
