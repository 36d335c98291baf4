"""Compiles the connector of the working folder, and imports every module of it."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import traceback
from pathlib import Path

ROOT = Path.cwd()
PACKAGE = ROOT.name.replace("-", "_")


def main() -> int:
    sys.path.insert(0, str(ROOT))
    try:
        # In memory: the folder need not be writable.
        for path in sorted(ROOT.rglob("*.py")):
            compile(path.read_bytes(), str(path), "exec")
        # It makes the code that this connector shares with others importable.
        importlib.import_module("conftest")
        package = importlib.import_module(PACKAGE)
        names = [found.name for found in pkgutil.walk_packages(package.__path__, PACKAGE + ".")]
        for name in names:
            importlib.import_module(name)
    except Exception:
        traceback.print_exc()
        return 1
    print(f"imported {', '.join([PACKAGE, *names])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
