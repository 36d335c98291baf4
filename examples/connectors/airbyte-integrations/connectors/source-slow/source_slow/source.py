from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from connector_protocol import messages
from connector_protocol.entrypoint import ConfigError, Connector

from .export import ExportFailed, ExportService, wait_until_ready

SCHEMA = {
    "type": "object",
    "required": ["row", "square"],
    "properties": {"row": {"type": "integer"}, "square": {"type": "integer"}},
}


class SourceSlow(Connector):
    documentation_url = "https://docs.example.com/integrations/sources/slow"
    connection_specification = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Slow Export",
        "type": "object",
        "required": ["seconds_to_prepare", "rows"],
        "properties": {
            "seconds_to_prepare": {
                "type": "number",
                "title": "Seconds to prepare",
                "description": "How long the service takes for an export.",
                "minimum": 0,
            },
            "rows": {"type": "integer", "title": "Rows", "minimum": 1},
            "patience": {
                "type": "number",
                "title": "Patience",
                "description": "Seconds to wait before giving up.",
                "default": 60,
            },
        },
    }

    def problem(self, config: dict[str, Any]) -> str | None:
        if config["seconds_to_prepare"] > config.get("patience", 60):
            return "the service takes longer than the patience given"
        return None

    def streams(self) -> list[dict[str, Any]]:
        return [
            {"name": "squares", "json_schema": SCHEMA, "supported_sync_modes": ["full_refresh"]}
        ]

    def read(
        self, config: dict[str, Any], catalog: dict[str, Any], state: dict[str, Any]
    ) -> Iterator[messages.Message]:
        service = ExportService(config["seconds_to_prepare"], config["rows"])
        service.ask()
        yield messages.log("asked for the export")
        try:
            wait_until_ready(service, config.get("patience", 60))
        except ExportFailed as problem:
            raise ConfigError(str(problem)) from None
        yield messages.log(f"the export is ready after {service.polls} polls")
        for row in service.fetch():
            yield messages.record("squares", row)
