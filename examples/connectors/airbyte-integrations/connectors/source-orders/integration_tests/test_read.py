import json
from pathlib import Path

from connector_protocol.testing import mismatches, run_connector

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ("--config", "integration_tests/config.json")
CATALOG = ("--catalog", "integration_tests/configured_catalog.json")


def test_check_succeeds():
    answer = run_connector(ROOT, "check", *CONFIG)
    assert [status["status"] for status in answer.of("connectionStatus")] == ["SUCCEEDED"]


def test_check_says_what_is_wrong(tmp_path):
    config = tmp_path / "config.json"
    config.write_text('{"orders_file": "nowhere.csv"}', encoding="utf-8")
    (status,) = run_connector(ROOT, "check", "--config", str(config)).of("connectionStatus")
    assert status["status"] == "FAILED"
    assert "nowhere.csv" in status["message"]


def test_every_record_fits_the_schema_of_its_stream():
    (catalog,) = run_connector(ROOT, "discover", *CONFIG).of("catalog")
    schema = catalog["streams"][0]["json_schema"]
    records = run_connector(ROOT, "read", *CONFIG, *CATALOG).of("record")
    assert len(records) == 5
    assert [mismatches(schema, record["data"]) for record in records] == [[]] * 5


def test_a_second_read_starts_where_the_first_one_ended(tmp_path):
    (first,) = run_connector(ROOT, "read", *CONFIG, *CATALOG).of("state")
    state = tmp_path / "state.json"
    state.write_text(json.dumps(first["stream"]["stream_state"]), encoding="utf-8")
    records = run_connector(ROOT, "read", *CONFIG, *CATALOG, "--state", str(state)).of("record")
    assert [record["data"]["id"] for record in records] == ["1005"]
