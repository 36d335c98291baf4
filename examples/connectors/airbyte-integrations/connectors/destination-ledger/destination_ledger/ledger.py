"""Double-entry book-keeping: every invoice becomes entries that add up to nothing."""

from __future__ import annotations

from typing import Any

from connector_commons.identity import stable_id
from connector_commons.money import format_amount, split_evenly

RECEIVABLES = "receivables"
REVENUE = "revenue"


def entries(invoice: dict[str, Any]) -> list[dict[str, Any]]:
    """A debit of the whole, and a credit for each instalment in which it will be paid."""
    shares = split_evenly(invoice["total"], invoice.get("instalments", 1))
    amounts = [(RECEIVABLES, invoice["total"])] + [(REVENUE, -share) for share in shares]
    return [
        {
            "id": stable_id("entry", invoice["id"], str(position)),
            "account": account,
            "units": units,
            "currency": invoice["currency"],
            "text": f"{invoice['number']}: {format_amount(units, invoice['currency'])}",
        }
        for position, (account, units) in enumerate(amounts)
    ]


def balance(ledger: list[dict[str, Any]]) -> dict[str, int]:
    """What is left over in each currency; all zero in a sound ledger."""
    sums: dict[str, int] = {}
    for entry in ledger:
        sums[entry["currency"]] = sums.get(entry["currency"], 0) + entry["units"]
    return sums
