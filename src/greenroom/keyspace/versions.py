"""Versions of a keyspace's values: each is written as so many spaces before the JSON.

White space before a value is part of JSON: whoever reads the value, in whatever language and with whatever version,
reads it as before. The key stays the same, so that the invalidations of every process reach the values of all versions.
With the version in the key a rolling deployment would leave old values:

    a process of version 2 stores under its own key · a process of version 1 changes the record and drops the key of
    version 1 · readers of version 2 have the old value until its lifetime ends
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenroom.keyspace.mismatch import OtherVersion


def versioned(
    version: int, decode: Callable[[bytes], Any], encode: Callable[[Any], bytes]
) -> tuple[Callable[[bytes], Any], Callable[[Any], bytes]]:
    """A decoder that takes this version alone, and an encoder that writes it."""
    # docs/decisions/0092-versions-are-spaces-before-the-json.md
    mark = b" " * version

    def decode_version(data: bytes) -> Any:
        # As a slice, which holds for a value that is shorter too.
        if not data.startswith(mark) or data[version : version + 1] == b" ":
            written = len(data) - len(data.lstrip(b" "))
            raise OtherVersion(f"it is of version {written}, not {version}")
        return decode(data)

    def encode_version(value: Any) -> bytes:
        return mark + encode(value)

    return decode_version, encode_version
