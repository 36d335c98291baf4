"""Reads the plain YAML in which metadata is written, with nothing to install.

Plain means: mappings, lists of scalars, comments, and quoted or bare scalars. Whatever else YAML
has (anchors, tags, flow style, block scalars) is refused with its line, never guessed at.
"""

from __future__ import annotations

import re
from typing import Any

ENTRY = re.compile(r"(?P<key>[A-Za-z_][\w.-]*):(?: +(?P<value>.+))?")


class PlainYamlError(ValueError):
    """A line that is not plain YAML."""


def load(text: str) -> dict[str, Any]:
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        if "\t" in line:
            raise PlainYamlError(f"line {number}: a tab; indent with blanks")
        if line.strip() and not line.lstrip().startswith("#"):
            lines.append((number, len(line) - len(line.lstrip()), line.strip()))
    found, rest = mapping(lines, 0)
    if rest:
        raise PlainYamlError(f"line {rest[0][0]}: indented unlike the lines before it")
    return found


def mapping(lines: list, indent: int) -> tuple[dict[str, Any], list]:
    found: dict[str, Any] = {}
    while lines and lines[0][1] == indent:
        number, _, text = lines[0]
        entry = ENTRY.fullmatch(text)
        if entry is None:
            raise PlainYamlError(f"line {number}: expected 'key: value', found {text!r}")
        if entry["key"] in found:
            raise PlainYamlError(f"line {number}: {entry['key']} is given twice")
        lines = lines[1:]
        if entry["value"] is not None:
            found[entry["key"]] = scalar(entry["value"], number)
        elif lines and lines[0][1] >= indent and lines[0][2].startswith("- "):
            found[entry["key"]], lines = sequence(lines, lines[0][1])
        elif lines and lines[0][1] > indent:
            found[entry["key"]], lines = mapping(lines, lines[0][1])
        else:
            found[entry["key"]] = None
    return found, lines


def sequence(lines: list, indent: int) -> tuple[list[Any], list]:
    found = []
    while lines and lines[0][1] == indent and lines[0][2].startswith("- "):
        found.append(scalar(lines[0][2][2:].strip(), lines[0][0]))
        lines = lines[1:]
    return found, lines


def scalar(text: str, number: int) -> Any:
    if text[0] in "&*!|>[{%@`":
        raise PlainYamlError(f"line {number}: {text!r} is more than plain YAML; write it plainly")
    if text[0] in "\"'":
        if len(text) < 2 or text[-1] != text[0]:
            raise PlainYamlError(f"line {number}: the quote is not closed")
        return text[1:-1]
    text = text.split(" #")[0].strip()
    if text in ("true", "false"):
        return text == "true"
    return int(text) if re.fullmatch(r"-?\d+", text) else text
