"""What this connector relies on in the code that it shares."""

from connector_commons.money import MoneyError, format_amount, parse_amount


def refusal(text, currency):
    try:
        parse_amount(text, currency)
    except MoneyError as problem:
        return str(problem)
    return "accepted"


def test_what_is_parsed_is_printed_the_same():
    for text, currency in [("0.07", "EUR"), ("-3.50", "USD"), ("1200", "JPY")]:
        assert format_amount(parse_amount(text, currency), currency) == f"{text} {currency}"


def test_an_unknown_currency_is_named():
    assert refusal("1.00", "DOUBLOON").startswith("unknown currency 'DOUBLOON'")


def test_more_decimals_than_the_currency_has_are_refused():
    assert refusal("1.5", "JPY") == "'1.5' has more than 0 decimals, too many for JPY"
