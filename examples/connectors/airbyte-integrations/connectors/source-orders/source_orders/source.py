from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from connector_protocol import messages
from connector_protocol.entrypoint import ConfigError, Connector

from .orders import CURSOR, SCHEMA, OrderError, changed_since, read_orders


class SourceOrders(Connector):
    documentation_url = "https://docs.example.com/integrations/sources/orders"
    connection_specification = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Orders",
        "type": "object",
        "required": ["orders_file"],
        "properties": {
            "orders_file": {
                "type": "string",
                "title": "Orders file",
                "description": "A CSV file with the columns id, status, amount and updated_at.",
            },
        },
    }

    def problem(self, config: dict[str, Any]) -> str | None:
        try:
            read_orders(Path(config["orders_file"]))
        except (OrderError, OSError) as problem:
            return str(problem)
        return None

    def streams(self) -> list[dict[str, Any]]:
        orders = {
            "name": "orders",
            "json_schema": SCHEMA,
            "supported_sync_modes": ["full_refresh", "incremental"],
            "source_defined_cursor": True,
            "default_cursor_field": [CURSOR],
            "source_defined_primary_key": [["id"]],
        }
        return [orders]

    def read(
        self, config: dict[str, Any], catalog: dict[str, Any], state: dict[str, Any]
    ) -> Iterator[messages.Message]:
        for configured in catalog["streams"]:
            name = configured["stream"]["name"]
            if name != "orders":
                raise ConfigError(f"there is no stream {name!r}; there is: orders")
            try:
                orders = read_orders(Path(config["orders_file"]))
            except (OrderError, OSError) as problem:
                raise ConfigError(str(problem)) from None
            cursor = state.get(CURSOR, "") if configured["sync_mode"] == "incremental" else ""
            for order in changed_since(orders, cursor):
                yield messages.record(name, order)
                cursor = order[CURSOR]
            yield messages.state(name, {CURSOR: cursor})
