"""Checks how the text files of the working folder are written.

Prints one line for each problem, `path:line: message`, and exits 1 if there is any.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path.cwd()
REPOSITORY = Path(__file__).resolve().parents[1]
SUFFIXES = (".csv", ".json", ".py", ".toml", ".txt", ".yaml", ".yml")
LONGEST = 100


def problems(content: bytes) -> Iterator[tuple[int, str]]:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as problem:
        yield content.count(b"\n", 0, problem.start) + 1, "is not UTF-8"
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if "\t" in line:
            yield number, "has a tab"
        if line.endswith("\r"):
            yield number, "ends with a carriage return"
        elif line != line.rstrip():
            yield number, "ends with blanks"
        if len(line) > LONGEST:
            yield number, f"has {len(line)} characters; {LONGEST} are the most"
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "does not end with a line feed"


def main() -> int:
    files = sorted(path for path in ROOT.rglob("*") if path.suffix in SUFFIXES and path.is_file())
    wrong = 0
    for path in files:
        for line, why in problems(path.read_bytes()):
            wrong += 1
            print(f"{path.relative_to(REPOSITORY)}:{line}: error: {why}")
    print(f"{len(files)} files looked at, {wrong} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
