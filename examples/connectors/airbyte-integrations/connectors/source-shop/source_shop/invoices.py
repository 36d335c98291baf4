"""Products and invoices as the shop exports them, and as records with exact amounts."""

from __future__ import annotations

from typing import Any

from connector_commons.identity import stable_id
from connector_commons.money import format_amount, parse_amount

PRODUCTS = {
    "type": "object",
    "required": ["id", "sku", "price", "currency"],
    "properties": {
        "id": {"type": "string"},
        "sku": {"type": "string"},
        "price": {"type": "integer"},
        "currency": {"type": "string"},
    },
}

INVOICES = {
    "type": "object",
    "required": ["id", "number", "customer", "total", "currency", "total_text"],
    "properties": {
        "id": {"type": "string"},
        "number": {"type": "string"},
        "customer": {"type": "string"},
        "total": {"type": "integer"},
        "currency": {"type": "string"},
        "total_text": {"type": "string"},
    },
}


class InvoiceError(ValueError):
    """An invoice that contradicts itself."""


def product(entry: dict[str, str]) -> dict[str, Any]:
    return {
        "id": stable_id("product", entry["sku"]),
        "sku": entry["sku"],
        "price": parse_amount(entry["price"], entry["currency"]),
        "currency": entry["currency"],
    }


def invoice(entry: dict[str, Any]) -> dict[str, Any]:
    """An invoice; its lines must add up to its total."""
    currency = entry["currency"]
    total = parse_amount(entry["total"], currency)
    lines = sum(parse_amount(line, currency) for line in entry["lines"])
    if lines != total:
        said, found = format_amount(total, currency), format_amount(lines, currency)
        raise InvoiceError(f"the total says {said}, but the lines add up to {found}")
    return {
        "id": stable_id("invoice", entry["number"]),
        "number": entry["number"],
        "customer": entry["customer"],
        "total": total,
        "currency": currency,
        "total_text": format_amount(total, currency),
    }
