"""Ids that are the same whenever the same thing is read again."""

from __future__ import annotations

import hashlib


def stable_id(*parts: str) -> str:
    """16 hexadecimal digits made from the parts; no two lists of parts are joined to one text."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()[:16]
