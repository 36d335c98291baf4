"""Hourly readings as stations send them, and as records in metric units."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

POINTS = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")


class ReadingError(ValueError):
    """A row that is no reading; the text names the row."""


def celsius(fahrenheit: float) -> float:
    return round((fahrenheit - 32) * 5 / 9, 1)


def compass(degrees: float) -> str:
    """The point of the compass from which the wind blows."""
    return POINTS[round(degrees / 45) % len(POINTS)]


def reading(row: dict[str, str], line: int) -> dict[str, Any]:
    """One row as a record; a sensor that was silent leaves its column empty, which is null."""
    try:
        temperature = celsius(float(row["fahrenheit"])) if row["fahrenheit"] else None
        wind = compass(float(row["wind_degrees"])) if row["wind_degrees"] else None
    except ValueError as problem:
        raise ReadingError(f"line {line}: {problem}") from None
    return {"station": row["station"], "at": row["at"], "celsius": temperature, "wind_from": wind}


def read_readings(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [reading(row, line) for line, row in enumerate(csv.DictReader(file), start=2)]
