from source_weather.readings import ReadingError, celsius, compass, reading

ROW = {"station": "KLM", "at": "2026-03-01T01:00:00Z", "fahrenheit": "50", "wind_degrees": "90"}


def test_fahrenheit_becomes_celsius():
    assert celsius(32) == 0.0
    assert celsius(50) == 10.0
    assert celsius(-40) == -40.0


def test_the_compass_goes_round():
    assert compass(0) == "N"
    assert compass(90) == "E"
    assert compass(359) == "N"


def test_a_silent_sensor_is_null():
    assert reading({**ROW, "fahrenheit": ""}, 2)["celsius"] is None


def test_a_reading_that_is_no_number_is_refused_with_its_line():
    try:
        reading({**ROW, "fahrenheit": "warm"}, 3)
    except ReadingError as problem:
        assert str(problem).startswith("line 3:")
    else:
        raise AssertionError("the reading was accepted")
