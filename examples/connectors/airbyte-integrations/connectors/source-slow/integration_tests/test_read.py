import json
from pathlib import Path

from connector_protocol.testing import mismatches, run_connector

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ("--config", "integration_tests/config.json")
CATALOG = ("--catalog", "integration_tests/configured_catalog.json")


def test_the_export_is_waited_for_and_read_whole():
    (catalog,) = run_connector(ROOT, "discover", *CONFIG).of("catalog")
    schema = catalog["streams"][0]["json_schema"]
    records = run_connector(ROOT, "read", *CONFIG, *CATALOG).of("record")
    assert len(records) == 50
    assert not any(mismatches(schema, record["data"]) for record in records)


def test_an_export_that_never_comes_is_an_error_for_the_user(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"seconds_to_prepare": 9, "rows": 1, "patience": 0.2}), "utf-8")
    answer = run_connector(ROOT, "read", "--config", str(config), *CATALOG)
    assert answer.status == 1
    (trace,) = answer.of("trace")
    assert trace["error"]["message"] == "the export was not ready after 0.2 seconds"
