"""How often one client address may do something: counted on the server of the sessions, for all processes."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from time import monotonic
from typing import Any

from litestar.connection import ASGIConnection

from greenroom.errors import EngineError, Overloaded, QueueFull, RecordUnavailable
from greenroom.rate_limit import Bound
from greenroom.sessions.refusals import SessionsUnavailable
from greenroom_platform.accounts import network
from greenroom_platform.http.problems import Problem
from greenroom_platform.platform import Platform

log = logging.getLogger("greenroom.http")

_NOT_NOW = (Overloaded, QueueFull, RecordUnavailable, EngineError, SessionsUnavailable)
"""What says nothing against the client."""
_REMEMBERED = 10_000
"""Addresses that are known to be shut out; of more the oldest is forgotten, and counted on the server again."""


def address_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The client's address, as a trusted proxy forwards it; of IPv6 its network, and `-` over a unix socket."""
    client = connection.client
    return network(client.host) if client is not None and client.host else "-"


@asynccontextmanager
async def counted(
    connection: ASGIConnection[Any, Any, Any, Any], kind: str, bound: Bound, what: str, *, required: bool = True
) -> AsyncIterator[None]:
    """Count something that a client does in the block; what this service cannot do now does not count.

    Prevents: the queue is full, or the record away · a client tries again, as it was told · when it can be done again
    the client has reached the bound.

    Arguments:
        kind: a short name of it.
        what: what there is too much of, for the client.
        required: whether it may not be done where it cannot be counted.

    Raises:
        Problem: 429 with `Retry-After`, when it may not be done now.
        EngineError: when it cannot be counted and must be.
    """
    platform: Platform = connection.app.state.platform
    rate, address = platform.rate(kind, bound), address_of(connection)
    try:
        left = await rate.count(address)
    except EngineError as error:
        if required:
            raise
        log.warning("%s are not counted: %s", what, error)
        yield
        return
    if left:
        raise too_many(f"too many {what} from this address", left)
    try:
        yield
    except _NOT_NOW:
        with suppress(EngineError):
            await rate.take_back(address)
        raise


def too_many(detail: str, seconds: float) -> Problem:
    """The answer to what may be done again after so many seconds."""
    return Problem("too-many-requests", detail, headers={"Retry-After": str(math.ceil(seconds))})


class WrongTokens:
    """Bounds how often one address may guess a token.

    An address past the bound is refused before its token is looked at, or it would learn of a right one all the same.
    What a process has not heard yet from the server costs it one more guess.
    """

    def __init__(self, kind: str, bound: Bound) -> None:
        self._kind = kind
        self._bound = bound
        self._shut: dict[str, float] = {}

    def check(self, connection: ASGIConnection[Any, Any, Any, Any]) -> None:
        """Return if the address may present a token.

        Raises:
            Problem: 429 with `Retry-After`.
        """
        if not self._shut:
            return
        address = address_of(connection)
        left = self._shut.get(address, 0.0) - monotonic()
        if left > 0:
            raise too_many("too many wrong tokens from this address", left)
        self._shut.pop(address, None)

    async def count(self, connection: ASGIConnection[Any, Any, Any, Any]) -> None:
        """Count a wrong token; a server that cannot be asked counts none.

        Raises:
            Problem: as `check`.
        """
        platform: Platform = connection.app.state.platform
        address = address_of(connection)
        try:
            left = await platform.rate(self._kind, self._bound).count(address)
        except EngineError:
            return
        if left:
            if len(self._shut) >= _REMEMBERED:
                del self._shut[next(iter(self._shut))]
            self._shut[address] = monotonic() + left
            self.check(connection)


class Places:
    """So many at a time from one address, in this process."""

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._taken: Counter[str] = Counter()

    @contextmanager
    def taken(self, address: str) -> Iterator[bool]:
        """A place while the block runs; False where there is none."""
        if self._taken[address] >= self._max_waiting:
            yield False
            return
        self._taken[address] += 1
        try:
            yield True
        finally:
            self._taken[address] -= 1
            if not self._taken[address]:
                del self._taken[address]
