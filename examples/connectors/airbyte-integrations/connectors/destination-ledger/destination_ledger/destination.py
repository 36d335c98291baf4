from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from connector_commons.money import MoneyError
from connector_protocol import messages
from connector_protocol.entrypoint import ConfigError, Connector

from .ledger import entries


class DestinationLedger(Connector):
    documentation_url = "https://docs.example.com/integrations/destinations/ledger"
    connection_specification = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Ledger",
        "type": "object",
        "required": ["ledger_file"],
        "properties": {
            "ledger_file": {
                "type": "string",
                "title": "Ledger file",
                "description": "A file of JSON lines, to which entries are added.",
            },
        },
    }

    def problem(self, config: dict[str, Any]) -> str | None:
        folder = Path(config["ledger_file"]).parent
        return None if folder.is_dir() else f"the folder {folder} does not exist"

    def write(
        self, config: dict[str, Any], catalog: dict[str, Any], lines: Iterable[str]
    ) -> Iterator[messages.Message]:
        """Adds entries; a state is sent back only after what came before it is on disk."""
        wanted = {configured["stream"]["name"] for configured in catalog["streams"]}
        with Path(config["ledger_file"]).open("a", encoding="utf-8") as file:
            for line in lines:
                message = json.loads(line)
                if message["type"] == "STATE":
                    file.flush()
                    yield message
                elif message["type"] == "RECORD" and message["record"]["stream"] in wanted:
                    try:
                        found = entries(message["record"]["data"])
                    except (KeyError, MoneyError) as problem:
                        raise ConfigError(f"a record is no invoice: {problem}") from None
                    file.writelines(json.dumps(entry) + "\n" for entry in found)
