from source_faker import SourceFaker

CONFIG = {"count": 3, "seed": 1, "parallelism": 1, "records_per_slice": 10}


def test_there_are_three_streams_with_a_cursor():
    streams = SourceFaker().streams(CONFIG)
    assert [stream.name for stream in streams] == ["products", "users", "purchases"]
    assert {stream.cursor_field for stream in streams} == {"updated_at"}


def test_as_many_products_are_read_as_asked_for():
    products = SourceFaker().streams(CONFIG)[0]
    records = [record for record in products.read_records() if isinstance(record, dict)]
    assert [record["id"] for record in records] == [1, 2, 3]
