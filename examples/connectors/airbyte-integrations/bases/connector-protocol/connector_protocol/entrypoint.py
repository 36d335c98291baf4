"""The command line of a connector: `spec`, `check`, `discover`, `read`, and `write`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from . import messages
from .messages import Message

Json = dict[str, Any]


class ConfigError(Exception):
    """The user's configuration is wrong; the text is for the user."""


class Connector:
    """What a connector must answer. Sources read, destinations write."""

    documentation_url: str
    connection_specification: Json

    def problem(self, config: Json) -> str | None:
        """What keeps this configuration from working, or None."""
        raise NotImplementedError

    def streams(self) -> list[Json]:
        return []

    def read(self, config: Json, catalog: Json, state: Json) -> Iterator[Message]:
        raise ConfigError("this connector does not read")

    def write(self, config: Json, catalog: Json, lines: Iterable[str]) -> Iterator[Message]:
        raise ConfigError("this connector does not write")


def missing_options(specification: Json, config: Json) -> str | None:
    """The first required option that the configuration lacks, in words."""
    for name in specification.get("required", []):
        if name not in config:
            return f"the option {name!r} is missing"
    return None


def run(connector: Connector, arguments: list[str], out: TextIO = sys.stdout) -> int:
    """Answers one command; returns the exit status."""
    parsed = parse(arguments)
    try:
        for message in answer(connector, parsed):
            print(json.dumps(message), file=out, flush=True)
    except ConfigError as problem:
        print(json.dumps(messages.error(str(problem))), file=out, flush=True)
        return 1
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("spec")
    for name in ("check", "discover", "read", "write"):
        command = commands.add_parser(name)
        command.add_argument("--config", type=Path, required=True)
        if name in ("read", "write"):
            command.add_argument("--catalog", type=Path, required=True)
        if name == "read":
            command.add_argument("--state", type=Path)
    return parser.parse_args(arguments)


def answer(connector: Connector, parsed: argparse.Namespace) -> Iterator[Message]:
    if parsed.command == "spec":
        yield messages.spec(connector.connection_specification, connector.documentation_url)
        return
    config = load(parsed.config)
    missing = missing_options(connector.connection_specification, config)
    if parsed.command == "check":
        yield messages.connection_status(missing or connector.problem(config))
        return
    if missing:
        raise ConfigError(missing)
    if parsed.command == "discover":
        yield messages.catalog(connector.streams())
    elif parsed.command == "read":
        state = load(parsed.state) if parsed.state else {}
        yield from connector.read(config, load(parsed.catalog), state)
    else:
        yield from connector.write(config, load(parsed.catalog), sys.stdin)


def load(path: Path) -> Json:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist") from None
    except json.JSONDecodeError as problem:
        raise ConfigError(f"{path} is not JSON: {problem}") from None
