from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from connector_commons.money import MoneyError
from connector_protocol import messages
from connector_protocol.entrypoint import ConfigError, Connector

from .invoices import INVOICES, PRODUCTS, InvoiceError, invoice, product

STREAMS = {"products": (PRODUCTS, product), "invoices": (INVOICES, invoice)}


def load(config: dict[str, Any]) -> dict[str, Any]:
    return json.loads(Path(config["shop_file"]).read_text(encoding="utf-8"))


class SourceShop(Connector):
    documentation_url = "https://docs.example.com/integrations/sources/shop"
    connection_specification = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Shop",
        "type": "object",
        "required": ["shop_file"],
        "properties": {
            "shop_file": {
                "type": "string",
                "title": "Shop file",
                "description": "A JSON export of the shop: products and invoices.",
            },
        },
    }

    def problem(self, config: dict[str, Any]) -> str | None:
        try:
            load(config)
        except (OSError, ValueError) as problem:
            return str(problem)
        return None

    def streams(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "json_schema": schema, "supported_sync_modes": ["full_refresh"]}
            for name, (schema, _) in STREAMS.items()
        ]

    def read(
        self, config: dict[str, Any], catalog: dict[str, Any], state: dict[str, Any]
    ) -> Iterator[messages.Message]:
        shop = load(config)
        for configured in catalog["streams"]:
            name = configured["stream"]["name"]
            if name not in STREAMS:
                raise ConfigError(f"there is no stream {name!r}; there are: {', '.join(STREAMS)}")
            for entry in shop[name]:
                try:
                    yield messages.record(name, STREAMS[name][1](entry))
                except (MoneyError, InvoiceError) as problem:
                    raise ConfigError(f"{name} {entry.get('number', '')}: {problem}") from None
