"""Range requests (RFC 9110, section 14): which bytes of a representation are asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ONE = re.compile(r"bytes=\s*(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))\s*", re.IGNORECASE)


class Unsatisfiable(Exception):
    """No byte of the representation is in the range."""


def requested(header: Sequence[str], size: int) -> range | None:
    """The bytes that a `Range` asks for; None for all of them.

    What is no range, is in another unit, or names several at once may be ignored, and is: all is then sent.

    Arguments:
        header: the values of `Range`.
        size: of the representation, in bytes.

    Raises:
        Unsatisfiable: when nothing of it is there.
    """
    match = _ONE.fullmatch(header[0].strip()) if len(header) == 1 else None
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        if int(suffix) == 0 or size == 0:
            raise Unsatisfiable
        return range(max(0, size - int(suffix)), size)
    begin = int(first)
    if last and int(last) < begin:
        return None  # no range at all, by its grammar
    if begin >= size:
        raise Unsatisfiable
    return range(begin, min(int(last) + 1, size) if last else size)
