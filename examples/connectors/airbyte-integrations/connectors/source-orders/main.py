"""Starts the connector: `python3 main.py spec`."""

import sys
from pathlib import Path

# Nothing is installed here, since the example needs no network: the shared code is beside us.
BASES = Path(__file__).resolve().parents[2] / "bases"
sys.path.insert(0, str(BASES / "connector-protocol"))

from connector_protocol.entrypoint import run  # noqa: E402

from source_orders.source import SourceOrders  # noqa: E402

if __name__ == "__main__":
    sys.exit(run(SourceOrders(), sys.argv[1:]))
