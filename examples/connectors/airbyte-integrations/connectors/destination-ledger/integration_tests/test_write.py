import json
from pathlib import Path

from connector_protocol import messages
from connector_protocol.testing import run_connector
from destination_ledger.ledger import balance

ROOT = Path(__file__).resolve().parents[1]
CATALOG = ("--catalog", "integration_tests/configured_catalog.json")


def invoice(number, total, currency="EUR"):
    data = {"id": f"id-{number}", "number": number, "total": total, "currency": currency}
    return json.dumps(messages.record("invoices", data))


def write(tmp_path, *lines):
    ledger = tmp_path / "ledger.jsonl"
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"ledger_file": str(ledger)}), encoding="utf-8")
    answer = run_connector(
        ROOT, "write", "--config", str(config), *CATALOG, stdin="\n".join(lines) + "\n"
    )
    return answer, [json.loads(line) for line in ledger.read_text("utf-8").splitlines()]


def test_what_is_written_balances(tmp_path):
    answer, ledger = write(tmp_path, invoice("1", 1250), invoice("2", 300, "JPY"))
    assert answer.status == 0
    assert len(ledger) == 4
    assert balance(ledger) == {"EUR": 0, "JPY": 0}


def test_a_state_comes_back_after_what_it_covers(tmp_path):
    state = json.dumps(messages.state("invoices", {"number": "1"}))
    answer, ledger = write(tmp_path, invoice("1", 1250), state)
    assert [found["stream"]["stream_state"] for found in answer.of("state")] == [{"number": "1"}]
    assert len(ledger) == 2


def test_records_of_other_streams_are_left_alone(tmp_path):
    other = json.dumps(messages.record("products", {"sku": "MUG-RED"}))
    _, ledger = write(tmp_path, other, invoice("1", 1250))
    assert len(ledger) == 2


def test_a_record_that_is_no_invoice_is_an_error_for_the_user(tmp_path):
    answer, _ = write(tmp_path, json.dumps(messages.record("invoices", {"id": "x"})))
    assert answer.status == 1
    assert "no invoice" in answer.of("trace")[0]["error"]["message"]
