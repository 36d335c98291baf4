"""Daily means of hourly readings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def mean(temperatures: list[float | None]) -> float | None:
    """The mean of a day's temperatures, in which None stands for a reading that is missing."""
    if not temperatures:
        return None
    return round(sum(found or 0.0 for found in temperatures) / len(temperatures), 1)


def daily_means(readings: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One record for each station and day, in order."""
    days: dict[tuple[str, str], list[float | None]] = {}
    for reading in readings:
        day = reading["at"][: len("2026-03-01")]
        days.setdefault((reading["station"], day), []).append(reading["celsius"])
    return [
        {"station": station, "day": day, "celsius": mean(temperatures)}
        for (station, day), temperatures in sorted(days.items())
    ]
