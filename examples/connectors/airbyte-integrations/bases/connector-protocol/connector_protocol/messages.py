"""Messages of the Airbyte protocol, as plain dictionaries: one of them is one line of output."""

from __future__ import annotations

import time
from typing import Any

Message = dict[str, Any]


def spec(connection_specification: dict[str, Any], documentation_url: str) -> Message:
    body = {
        "documentationUrl": documentation_url,
        "connectionSpecification": connection_specification,
    }
    return {"type": "SPEC", "spec": body}


def connection_status(problem: str | None) -> Message:
    """SUCCEEDED when there is no problem; else FAILED, with the problem in words."""
    if problem is None:
        return {"type": "CONNECTION_STATUS", "connectionStatus": {"status": "SUCCEEDED"}}
    body = {"status": "FAILED", "message": problem}
    return {"type": "CONNECTION_STATUS", "connectionStatus": body}


def catalog(streams: list[dict[str, Any]]) -> Message:
    return {"type": "CATALOG", "catalog": {"streams": streams}}


def record(stream: str, data: dict[str, Any]) -> Message:
    body = {"stream": stream, "data": data, "emitted_at": time.time_ns() // 1_000_000}
    return {"type": "RECORD", "record": body}


def state(stream: str, stream_state: dict[str, Any]) -> Message:
    body = {"stream_descriptor": {"name": stream}, "stream_state": stream_state}
    return {"type": "STATE", "state": {"type": "STREAM", "stream": body}}


def log(message: str, level: str = "INFO") -> Message:
    return {"type": "LOG", "log": {"level": level, "message": message}}


def error(message: str, internal_message: str | None = None) -> Message:
    body = {"message": message, "internal_message": internal_message or message}
    emitted_at = time.time_ns() // 1_000_000
    return {"type": "TRACE", "trace": {"type": "ERROR", "emitted_at": emitted_at, "error": body}}
