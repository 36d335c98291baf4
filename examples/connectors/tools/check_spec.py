"""Runs `spec` and `check` of the connector in the working folder, and judges the answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CONFIG = Path("integration_tests/config.json")
TYPES = ("array", "boolean", "integer", "number", "object", "string")


def run(*arguments: str) -> list[dict[str, Any]]:
    """The messages that the connector prints."""
    command = [sys.executable, "main.py", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def problems(messages: list[dict[str, Any]], config: dict[str, Any]) -> Iterator[str]:
    specs = [message["spec"] for message in messages if message["type"] == "SPEC"]
    if len(specs) != 1:
        yield f"spec printed {len(specs)} SPEC messages; one is right"
        return
    schema = specs[0]["connectionSpecification"]
    if schema.get("type") != "object":
        yield "connectionSpecification is not of type object"
    options = schema.get("properties", {})
    for name in schema.get("required", []):
        if name not in options:
            yield f"{name} is required, but not described"
    for name, option in options.items():
        if option.get("type") not in TYPES:
            yield f"{name} has no type"
        if not option.get("title"):
            yield f"{name} has no title"
    for name in config:
        if name not in options:
            yield f"{CONFIG} has {name}, which the specification does not know"


def main() -> int:
    config = json.loads(CONFIG.read_text(encoding="utf-8"))
    found = list(problems(run("spec"), config))
    if not found:
        statuses = [
            message["connectionStatus"]
            for message in run("check", "--config", str(CONFIG))
            if message["type"] == "CONNECTION_STATUS"
        ]
        if [status["status"] for status in statuses] != ["SUCCEEDED"]:
            found.append(f"check answered {statuses}")
    for problem in found:
        print(f"error: {problem}")
    if not found:
        print("spec and check are in order")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
