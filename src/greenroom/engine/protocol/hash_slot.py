"""The hash slots of a cluster: a key's slot decides which node owns it."""

from __future__ import annotations

from binascii import crc_hqx
from functools import cache

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


_RANGES = 32


@cache
def spread_tags() -> tuple[str, ...]:
    """Texts whose slots lie in 32 ranges of one size: a node that owns twice that many neighbours owns one of them."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < _RANGES:
        found.setdefault(slot_of(str(number)) * _RANGES // SLOTS, str(number))
        number += 1
    return tuple(found[place] for place in sorted(found))
