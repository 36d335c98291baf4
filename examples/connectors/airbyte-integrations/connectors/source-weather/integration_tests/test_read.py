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
    assert [mismatches(schemas[found["stream"]], found["data"]) for found in records] == [[]] * 8


def test_the_days_of_both_stations_have_means():
    records = run_connector(ROOT, "read", *CONFIG, *CATALOG).of("record")
    means = [found["data"] for found in records if found["stream"] == "daily_means"]
    assert [(found["station"], found["day"], found["celsius"]) for found in means] == [
        ("ABC", "2026-03-01", 1.0),
        ("KLM", "2026-03-01", 12.5),
        ("KLM", "2026-03-02", 5.0),
    ]
