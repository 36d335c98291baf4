"""Checks `metadata.yaml` of the connector in the working folder.

Prints one line for each problem, `path:line: message`, and exits 1 if there is any.
"""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plain_yaml import PlainYamlError, load

ROOT = Path.cwd()
REPOSITORY = Path(__file__).resolve().parents[1]
DOCS = "https://docs.example.com/"

REQUIRED = (
    "name",
    "definitionId",
    "connectorType",
    "connectorSubtype",
    "dockerRepository",
    "dockerImageTag",
    "license",
    "documentationUrl",
    "githubIssueLabel",
    "releaseStage",
    "supportLevel",
    "tags",
)

CHOICES = {
    "connectorType": ("source", "destination"),
    "connectorSubtype": ("api", "database", "datalake", "file", "message_queue", "unknown"),
    "releaseStage": ("alpha", "beta", "generally_available"),
    "supportLevel": ("community", "certified", "archived"),
}


def problems(metadata: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong: the key, and why."""
    for key in metadata:
        if key not in ("metadataSpecVersion", "data"):
            yield key, "nothing but metadataSpecVersion and data stands at the top"
    data = metadata.get("data")
    if not isinstance(data, dict):
        yield "data", "is missing"
        return
    missing = [key for key in REQUIRED if data.get(key) is None]
    yield from ((key, "is missing") for key in missing)
    yield from ((key, "is unknown") for key in data if key not in REQUIRED)
    if not missing:
        yield from wrong_values(data)


def wrong_values(data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, allowed in CHOICES.items():
        if data[key] not in allowed:
            yield key, f"{data[key]!r} is none of {', '.join(allowed)}"
    try:
        uuid.UUID(data["definitionId"])
    except ValueError:
        yield "definitionId", "is no UUID"
    if not ROOT.name.startswith(f"{data['connectorType']}-"):
        yield "connectorType", f"is {data['connectorType']!r}, but the folder is {ROOT.name}"
    if data["dockerRepository"].rpartition("/")[2] != ROOT.name:
        yield "dockerRepository", f"does not end with the folder's name, {ROOT.name}"
    if re.fullmatch(r"\d+\.\d+\.\d+(-rc\.\d+)?", str(data["dockerImageTag"])) is None:
        yield "dockerImageTag", f"{data['dockerImageTag']!r} is no version such as 1.4.0"
    if not any(str(tag).startswith("language:") for tag in data["tags"]):
        yield "tags", "has no language: tag"
    yield from wrong_page(data["documentationUrl"])


def wrong_page(url: str) -> Iterator[tuple[str, str]]:
    """The documentation of a connector is a page of this repository."""
    if not url.startswith(DOCS):
        yield "documentationUrl", f"does not begin with {DOCS}"
        return
    page = Path("docs", url[len(DOCS) :] + ".md")
    if not (REPOSITORY / page).is_file():
        yield "documentationUrl", f"has no page: {page} does not exist"


def line_of(text: str, key: str) -> int:
    """Where a key stands; the first line if it does not."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip().startswith(f"{key}:"):
            return number
    return 1


def main() -> int:
    path = ROOT / "metadata.yaml"
    shown = path.relative_to(REPOSITORY)
    text = path.read_text(encoding="utf-8")
    try:
        found = list(problems(load(text)))
    except PlainYamlError as problem:
        print(f"{shown}: {problem}")
        return 1
    for key, why in found:
        print(f"{shown}:{line_of(text, key)}: error: {key} {why}")
    if not found:
        print(f"{shown} is in order")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
