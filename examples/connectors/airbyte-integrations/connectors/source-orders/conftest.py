"""Lets the tests find the shared code, which is not installed: the example needs no network."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
BASES = ROOT.parents[1] / "bases"
sys.path[:0] = [str(ROOT), str(BASES / "connector-protocol")]
