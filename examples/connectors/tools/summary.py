"""Writes `summary.json`: what the connector in the working folder is and what it offers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from plain_yaml import load

CONFIG = "integration_tests/config.json"


def streams() -> list[str]:
    command = [sys.executable, "main.py", "discover", "--config", CONFIG]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    catalogs = [json.loads(line) for line in done.stdout.splitlines()]
    return [
        stream["name"]
        for message in catalogs
        if message["type"] == "CATALOG"
        for stream in message["catalog"]["streams"]
    ]


def main() -> None:
    data = load(Path("metadata.yaml").read_text(encoding="utf-8"))["data"]
    code = sorted(path for path in Path().rglob("*.py") if "tests" not in path.parts[0])
    summary = {
        "connector": os.environ.get("CHECKVALVE_CONNECTOR", Path.cwd().name),
        "name": data["name"],
        "version": data["dockerImageTag"],
        "release_stage": data["releaseStage"],
        "streams": streams(),
        "lines_of_code": sum(len(path.read_text("utf-8").splitlines()) for path in code),
    }
    text = json.dumps(summary, indent=2) + "\n"
    print(text, end="")
    out = os.environ.get("CHECKVALVE_OUT")
    if out:
        Path(out, "summary.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
