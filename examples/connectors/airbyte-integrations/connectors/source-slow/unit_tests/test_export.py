import time

from source_slow.export import ExportFailed, ExportService, wait_until_ready


def waited(service, patience):
    before = time.monotonic()
    wait_until_ready(service, patience)
    return time.monotonic() - before


def test_an_export_that_is_ready_at_once_is_not_waited_for():
    service = ExportService(0, rows=3)
    service.ask()
    assert waited(service, patience=5) < 0.1
    assert [row["square"] for row in service.fetch()] == [0, 1, 4]


def test_a_slow_export_is_waited_for():
    service = ExportService(2.5, rows=1)
    service.ask()
    assert waited(service, patience=20) >= 2.5


def test_polls_become_rarer():
    service = ExportService(3, rows=1)
    service.ask()
    wait_until_ready(service, patience=20)
    assert service.polls <= 7, f"{service.polls} polls in three seconds would be throttled"


def test_patience_ends():
    service = ExportService(60, rows=1)
    service.ask()
    try:
        wait_until_ready(service, patience=1.5)
    except ExportFailed as problem:
        assert str(problem) == "the export was not ready after 1.5 seconds"
    else:
        raise AssertionError("we waited for an export that never came")
