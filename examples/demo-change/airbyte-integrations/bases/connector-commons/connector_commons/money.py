"""Amounts of money as whole minor units (cents), so that sums are exact."""

from __future__ import annotations

import re

# Digits behind the decimal point, as ISO 4217 has them.
DECIMALS = {"EUR": 2, "GBP": 2, "JPY": 0, "KWD": 3, "USD": 2}

AMOUNT = re.compile(r"(-?)(\d+)(?:\.(\d+))?")


class MoneyError(ValueError):
    """A text that is no amount of that currency."""


def decimals(currency: str) -> int:
    try:
        return DECIMALS[currency]
    except KeyError:
        known = ", ".join(sorted(DECIMALS))
        raise MoneyError(f"unknown currency {currency!r}; known are {known}") from None


def parse_amount(text: str, currency: str) -> int:
    """`parse_amount("12.5", "EUR")` is 1250."""
    digits = decimals(currency)
    match = AMOUNT.fullmatch(text.strip())
    if match is None:
        raise MoneyError(f"{text!r} is not an amount")
    sign, whole, fraction = match.group(1), match.group(2), match.group(3) or ""
    if len(fraction) > digits:
        raise MoneyError(f"{text!r} has more than {digits} decimals, too many for {currency}")
    units = int(whole + fraction.ljust(digits, "0"))
    return -units if sign else units


def format_amount(units: int, currency: str) -> str:
    """`format_amount(1250, "EUR")` is "12.50 EUR"."""
    digits = decimals(currency)
    sign = "-" if units < 0 else ""
    text = str(abs(units)).rjust(digits + 1, "0")
    if digits:
        text = f"{text[:-digits]}.{text[-digits:]}"
    return f"{sign}{text} {currency}"


def split_evenly(units: int, parts: int) -> list[int]:
    """Parts that differ by at most one unit and add up to the whole."""
    if parts < 1:
        raise MoneyError(f"cannot split into {parts} parts")
    share, rest = divmod(units, parts)
    return [share + 1 if index < rest else share for index in range(parts)]
