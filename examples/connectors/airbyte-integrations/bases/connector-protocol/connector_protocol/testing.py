"""Runs a connector as the platform does: as a program that prints one message a line."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Answer:
    status: int
    messages: list[dict[str, Any]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The bodies of the messages of one kind, such as `record`."""
        return [message[kind] for message in self.messages if kind in message]


def run_connector(root: Path, *arguments: str, stdin: str = "") -> Answer:
    """Runs `main.py` of the connector in `root`, in that folder."""
    command = [sys.executable, "main.py", *arguments]
    done = subprocess.run(
        command, cwd=root, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    sys.stderr.write(done.stderr)
    return Answer(done.returncode, [json.loads(line) for line in done.stdout.splitlines()])


JSON_TYPES = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def mismatches(schema: dict[str, Any], data: dict[str, Any]) -> list[str]:
    """How a record differs from a flat JSON schema; empty when it fits."""
    found = [f"{name} is missing" for name in schema.get("required", []) if name not in data]
    for name, value in data.items():
        declared = schema["properties"].get(name)
        if declared is None:
            found.append(f"{name} is not declared")
            continue
        kinds = declared["type"] if isinstance(declared["type"], list) else [declared["type"]]
        if not any(isinstance(value, JSON_TYPES[kind]) for kind in kinds):
            found.append(f"{name} is {value!r}, not {' or '.join(kinds)}")
    return found
