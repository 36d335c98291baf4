from source_weather.daily import daily_means, mean


def at(hour, celsius, station="KLM"):
    return {"station": station, "at": f"2026-03-01T{hour:02}:00:00Z", "celsius": celsius}


def test_the_mean_of_a_full_day():
    assert mean([17.0, 18.0, 19.0]) == 18.0


def test_a_missing_reading_does_not_count_as_zero_degrees():
    found = mean([17.0, None, 19.0])
    assert found == 18.0, f"the mean of 17.0 and 19.0 is 18.0, but we said {found}"


def test_a_day_without_readings_has_no_mean():
    assert mean([]) is None


def test_each_station_has_its_own_days():
    means = daily_means([at(1, 10.0), at(2, 12.0), at(1, 20.0, station="ABC")])
    assert [(found["station"], found["celsius"]) for found in means] == [
        ("ABC", 20.0),
        ("KLM", 11.0),
    ]
