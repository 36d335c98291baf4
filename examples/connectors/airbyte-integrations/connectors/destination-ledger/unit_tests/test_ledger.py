from connector_commons.money import MoneyError, split_evenly
from destination_ledger.ledger import balance, entries

INVOICE = {"id": "a1", "number": "2026-1", "total": 1000, "currency": "EUR"}


def test_an_invoice_is_a_debit_and_a_credit():
    debit, credit = entries(INVOICE)
    assert (debit["account"], debit["units"]) == ("receivables", 1000)
    assert (credit["account"], credit["units"]) == ("revenue", -1000)
    assert credit["text"] == "2026-1: -10.00 EUR"


def test_instalments_lose_no_cent():
    ledger = entries({**INVOICE, "instalments": 3})
    assert [entry["units"] for entry in ledger] == [1000, -334, -333, -333]
    assert balance(ledger) == {"EUR": 0}


def test_currencies_are_never_mixed():
    ledger = entries(INVOICE) + entries({**INVOICE, "id": "b2", "total": 500, "currency": "JPY"})
    assert balance(ledger) == {"EUR": 0, "JPY": 0}


def test_entries_have_ids_that_a_second_write_repeats():
    assert [entry["id"] for entry in entries(INVOICE)] == [
        entry["id"] for entry in entries(INVOICE)
    ]
    assert len({entry["id"] for entry in entries(INVOICE)}) == 2


def test_a_negative_total_is_split_without_loss():
    assert sum(split_evenly(-100, 3)) == -100


def test_no_instalments_is_an_error():
    try:
        entries({**INVOICE, "instalments": 0})
    except MoneyError as problem:
        assert str(problem) == "cannot split into 0 parts"
    else:
        raise AssertionError("the invoice was accepted")
