"""The hash slots of a cluster: a key's slot decides which node owns it."""

from __future__ import annotations

from binascii import crc_hqx

SLOTS = 16384


def slot_of(key: str) -> int:
    """The slot of a key: of the text in its first braces, if there is any, else of all of it."""
    data = key.encode()
    start = data.find(b"{") + 1
    if start:
        end = data.find(b"}", start)
        if end > start:
            data = data[start:end]
    return crc_hqx(data, 0) & 16383
