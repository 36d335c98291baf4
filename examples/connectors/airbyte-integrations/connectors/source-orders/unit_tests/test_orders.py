from source_orders.orders import OrderError, cents, changed_since, order, read_orders

ROW = {"id": "A1", "status": "paid", "amount": "12.50", "updated_at": "2026-03-01T10:00:00Z"}


def refusal(row):
    try:
        order(row, 7)
    except OrderError as problem:
        return str(problem)
    return "accepted"


def test_an_amount_becomes_cents_exactly():
    assert cents("12.50") == 1250
    assert cents("0.29") == 29
    assert cents("8") == 800


def test_an_amount_with_three_decimals_is_refused_with_its_line():
    assert refusal({**ROW, "amount": "12.505"}) == "line 7: '12.505' is not an amount such as 12.50"


def test_an_unknown_status_is_refused_with_those_there_are():
    assert refusal({**ROW, "status": "lost"}) == (
        "line 7: 'lost' is no status; they are open, paid, shipped, returned"
    )


def test_orders_come_oldest_change_first(tmp_path):
    file = tmp_path / "orders.csv"
    file.write_text(
        "id,status,amount,updated_at\n"
        "B2,open,5.00,2026-03-02T00:00:00Z\n"
        "A1,paid,12.50,2026-03-01T00:00:00Z\n",
        encoding="utf-8",
    )
    assert [found["id"] for found in read_orders(file)] == ["A1", "B2"]


def test_only_what_changed_since_the_cursor_is_read_again():
    orders = [
        order({**ROW, "id": "A1", "updated_at": "2026-03-01T10:00:00Z"}, 2),
        order({**ROW, "id": "B2", "updated_at": "2026-03-02T10:00:00Z"}, 3),
    ]
    assert [found["id"] for found in changed_since(orders, "2026-03-01T12:00:00Z")] == ["B2"]


def test_orders_of_the_cursors_own_second_are_not_lost():
    orders = [order({**ROW, "id": "A1"}, 2), order({**ROW, "id": "B2"}, 3)]
    assert len(changed_since(orders, ROW["updated_at"])) == 2
