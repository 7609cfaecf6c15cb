"""The id of a request: the client's own, or one that is made here."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

_NAME = b"x-request-id"
_ID = re.compile(rb"[A-Za-z0-9._~:+/=-]{1,128}")


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The id that a client has sent, if it is one that a log line can repeat; else a new one.

    Arguments:
        headers: with their names in lower case.
    """
    for name, value in headers:
        if name == _NAME and _ID.fullmatch(value):
            return value.decode()
    # It tells requests apart and opens nothing, so that it may be guessed: the system's random numbers cost three times
    # as much. A forked process begins anew with its own.
    return f"{random.getrandbits(128):032x}"
