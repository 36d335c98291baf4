"""Orders as rows of a CSV file, and as records."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CURSOR = "updated_at"

STATUSES = ("open", "paid", "shipped", "returned", "cancelled")

SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "required": ["id", "status", "cents", CURSOR],
    "properties": {
        "id": {"type": "string"},
        "status": {"type": "string"},
        "cents": {"type": "integer"},
        CURSOR: {"type": "string", "format": "date-time"},
    },
}


class OrderError(ValueError):
    """A row that is no order; the text names the row."""


def cents(amount: str) -> int:
    """`cents("12.50")` is 1250. Never through a float: 0.29 × 100 is 28.999…"""
    match = re.fullmatch(r"(\d+)(?:\.(\d\d))?", amount)
    if match is None:
        raise OrderError(f"{amount!r} is not an amount such as 12.50")
    return int(match.group(1)) * 100 + int(match.group(2) or 0)


def order(row: dict[str, str], line: int) -> dict[str, Any]:
    """One row as a record."""
    if row["status"] not in STATUSES:
        known = ", ".join(STATUSES)
        raise OrderError(f"line {line}: {row['status']!r} is no status; they are {known}")
    try:
        amount = cents(row["amount"])
    except OrderError as problem:
        raise OrderError(f"line {line}: {problem}") from None
    return {"id": row["id"], "status": row["status"], "cents": amount, CURSOR: row[CURSOR]}


def read_orders(path: Path) -> list[dict[str, Any]]:
    """All orders of a file, the oldest change first."""
    with path.open(encoding="utf-8", newline="") as file:
        orders = [order(row, line) for line, row in enumerate(csv.DictReader(file), start=2)]
    return sorted(orders, key=lambda found: (found[CURSOR], found["id"]))


def changed_since(orders: Iterable[dict[str, Any]], cursor: str) -> list[dict[str, Any]]:
    """Orders changed at the cursor or later.

    Orders that share the cursor's second come twice rather than never: a second may have been
    cut in two by the read before this one.
    """
    return [found for found in orders if found[CURSOR] >= cursor]
