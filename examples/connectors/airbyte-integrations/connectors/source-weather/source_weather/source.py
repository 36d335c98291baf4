from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from connector_protocol import messages
from connector_protocol.entrypoint import ConfigError, Connector

from .daily import daily_means
from .readings import ReadingError, read_readings

READINGS = {
    "type": "object",
    "required": ["station", "at", "celsius", "wind_from"],
    "properties": {
        "station": {"type": "string"},
        "at": {"type": "string"},
        "celsius": {"type": ["number", "null"]},
        "wind_from": {"type": ["string", "null"]},
    },
}

DAILY_MEANS = {
    "type": "object",
    "required": ["station", "day", "celsius"],
    "properties": {
        "station": {"type": "string"},
        "day": {"type": "string"},
        "celsius": {"type": ["number", "null"]},
    },
}


class SourceWeather(Connector):
    documentation_url = "https://docs.example.com/integrations/sources/weather"
    connection_specification = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Weather",
        "type": "object",
        "required": ["readings_file"],
        "properties": {
            "readings_file": {
                "type": "string",
                "title": "Readings file",
                "description": "A CSV file: station, at, fahrenheit and wind_degrees.",
            },
        },
    }

    def problem(self, config: dict[str, Any]) -> str | None:
        try:
            read_readings(Path(config["readings_file"]))
        except (ReadingError, OSError) as problem:
            return str(problem)
        return None

    def streams(self) -> list[dict[str, Any]]:
        modes = ["full_refresh"]
        return [
            {"name": "readings", "json_schema": READINGS, "supported_sync_modes": modes},
            {"name": "daily_means", "json_schema": DAILY_MEANS, "supported_sync_modes": modes},
        ]

    def read(
        self, config: dict[str, Any], catalog: dict[str, Any], state: dict[str, Any]
    ) -> Iterator[messages.Message]:
        try:
            readings = read_readings(Path(config["readings_file"]))
        except (ReadingError, OSError) as problem:
            raise ConfigError(str(problem)) from None
        for configured in catalog["streams"]:
            name = configured["stream"]["name"]
            if name not in ("readings", "daily_means"):
                raise ConfigError(f"there is no stream {name!r}; there are: readings, daily_means")
            for data in readings if name == "readings" else daily_means(readings):
                yield messages.record(name, data)
