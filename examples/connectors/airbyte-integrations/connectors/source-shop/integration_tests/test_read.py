from pathlib import Path

from connector_protocol.testing import mismatches, run_connector

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ("--config", "integration_tests/config.json")
CATALOG = ("--catalog", "integration_tests/configured_catalog.json")


def test_check_succeeds():
    answer = run_connector(ROOT, "check", *CONFIG)
    assert [status["status"] for status in answer.of("connectionStatus")] == ["SUCCEEDED"]


def test_both_streams_are_read_and_fit_their_schemas():
    (catalog,) = run_connector(ROOT, "discover", *CONFIG).of("catalog")
    schemas = {stream["name"]: stream["json_schema"] for stream in catalog["streams"]}
    records = run_connector(ROOT, "read", *CONFIG, *CATALOG).of("record")
    assert [found["stream"] for found in records] == ["products"] * 3 + ["invoices"] * 2
    assert [mismatches(schemas[found["stream"]], found["data"]) for found in records] == [[]] * 5


def test_a_broken_invoice_is_an_error_for_the_user(tmp_path):
    shop = tmp_path / "shop.json"
    shop.write_text(
        '{"products": [], "invoices": [{"number": "1", "customer": "Eve", "currency": "EUR",'
        ' "total": "2.00", "lines": ["1.00"]}]}',
        encoding="utf-8",
    )
    config = tmp_path / "config.json"
    config.write_text(f'{{"shop_file": "{shop}"}}', encoding="utf-8")
    answer = run_connector(ROOT, "read", "--config", str(config), *CATALOG)
    assert answer.status == 1
    (trace,) = answer.of("trace")
    assert "the lines add up to 1.00 EUR" in trace["error"]["message"]
