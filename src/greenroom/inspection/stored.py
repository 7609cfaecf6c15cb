"""Reading keys as they are on a server, some at a time: their type, lifetime and value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from greenroom.engine.commands import Command
from greenroom.engine.operator import OperatorConnection
from greenroom.errors import EngineError
from greenroom.inspection.faults import Stored

TOGETHER = 20
"""Keys that are asked for at a time."""


async def read_stored(look: OperatorConnection, keys: Sequence[str], marks: Sequence[str] = ()) -> dict[str, Stored]:
    """What a server has under each key.

    Arguments:
        marks: for each key that of its generation; none are read where this is empty.

    Raises:
        EngineError: when it does not answer.
    """
    found: dict[str, Stored] = {}
    pairs = zip(keys, marks or [""] * len(keys), strict=True)
    while some := list(islice(pairs, TOGETHER)):
        commands = [one for key, mark in some for one in _commands(key, mark)]
        replies = iter(await look.replies(*commands))
        found |= {key: _stored(replies, with_mark=bool(mark)) for key, mark in some}
    return found


def _commands(key: str, mark: str) -> Iterator[Command]:
    yield "TYPE", key
    yield "PTTL", key
    yield "GET", key
    if mark:
        yield "GET", mark


def _stored(replies: Iterator[Any], *, with_mark: bool) -> Stored:
    kind, left, body = next(replies), next(replies), next(replies)
    mark = next(replies) if with_mark else None
    if isinstance(kind, EngineError):
        if isinstance(left, EngineError) and str(kind).startswith(("MOVED", "ASK", "TRYAGAIN")):
            return Stored(b"none", -2, None)  # its slot has moved meanwhile: it is another's to look at
        raise kind
    kind = kind.encode() if isinstance(kind, str) else bytes(kind)
    return Stored(
        b"none" if left == -2 else kind,
        left if isinstance(left, int) else -2,
        body if isinstance(body, bytes) else None,
        mark if isinstance(mark, bytes) else None,
    )
