"""An export that is asked for, prepared for a while, and fetched: how slow APIs often work."""

from __future__ import annotations

import time
from collections.abc import Iterator


class ExportFailed(Exception):
    """The export did not get ready in time."""


class ExportService:
    """Stands in for the remote service: an export is ready a while after it was asked for."""

    def __init__(self, seconds_to_prepare: float, rows: int) -> None:
        self.seconds_to_prepare = seconds_to_prepare
        self.rows = rows
        self.asked_at: float | None = None
        self.polls = 0

    def ask(self) -> None:
        self.asked_at = time.monotonic()

    def ready(self) -> bool:
        self.polls += 1
        if self.asked_at is None:
            return False
        return time.monotonic() - self.asked_at >= self.seconds_to_prepare

    def fetch(self) -> Iterator[dict[str, int]]:
        yield from ({"row": row, "square": row * row} for row in range(self.rows))


def wait_until_ready(service: ExportService, patience: float, pause: float = 0.1) -> None:
    """Polls with growing pauses, up to two seconds, until the export is ready."""
    deadline = time.monotonic() + patience
    while not service.ready():
        left = deadline - time.monotonic()
        if left <= 0:
            raise ExportFailed(f"the export was not ready after {patience:g} seconds")
        time.sleep(min(pause, left))
        pause = min(pause * 2, 2.0)
