from source_shop.invoices import InvoiceError, invoice, product

ENTRY = {
    "number": "2026-17",
    "customer": "Ada",
    "currency": "EUR",
    "total": "30.40",
    "lines": ["10.10", "20.30"],
}


def test_amounts_are_exact():
    record = invoice(ENTRY)
    assert record["total"] == 3040
    assert record["total_text"] == "30.40 EUR"


def test_a_currency_without_decimals():
    record = invoice({**ENTRY, "currency": "JPY", "total": "300", "lines": ["100", "200"]})
    assert (record["total"], record["total_text"]) == (300, "300 JPY")


def test_an_invoice_that_does_not_add_up_is_refused():
    try:
        invoice({**ENTRY, "total": "30.41"})
    except InvoiceError as problem:
        assert str(problem) == "the total says 30.41 EUR, but the lines add up to 30.40 EUR"
    else:
        raise AssertionError("the invoice was accepted")


def test_the_id_of_an_invoice_is_the_same_every_time():
    assert invoice(ENTRY)["id"] == invoice({**ENTRY, "customer": "Grace"})["id"]
    assert invoice(ENTRY)["id"] != invoice({**ENTRY, "number": "2026-18"})["id"]


def test_a_product_and_an_invoice_never_share_an_id():
    entry = {"sku": "2026-17", "price": "1.00", "currency": "EUR"}
    assert product(entry)["id"] != invoice(ENTRY)["id"]
