"""Requests that are refused before there is a request: what the server's protocols answer by themselves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from types import MappingProxyType

import msgspec

from greenroom.sessions.refusals import MEDIA_TYPE
from greenroom_platform.http.problems import KINDS, ProblemDocument
from greenroom_platform.http.request_ids import request_id_of
from greenroom_platform.http.security_headers import DATA

log = logging.getLogger("greenroom.access")

Headers = Iterable[tuple[bytes, bytes]]
NO_MORE: Mapping[str, str] = MappingProxyType({})

LAST_WORD = 2.0
"""Seconds that a client has to read a refusal, or to answer a close, before its connection is closed."""
_HEARD_OUT = 1024 * 1024
"""Bytes that are still read, and thrown away, of a client that was refused."""


def refusal(
    slug: str,
    detail: str,
    client: str,
    *,
    headers: Headers = (),
    instance: str = "/",
    more: Mapping[str, str] = NO_MORE,
    head: bool = False,
) -> bytes:
    """The answer to a request that reaches no application; the connection ends with it.

    Arguments:
        slug: of `problems.KINDS`.
        client: its address, for the log.
        headers: of the request, as far as they were read, with their names in lower case.
        instance: the path of the request, where that could be read.
        more: headers of the answer; a `Connection` among them must name the close as well.
        head: whether the request is a HEAD, whose answer has no content.
    """
    status, title, _ = KINDS[slug]
    request_id = request_id_of(headers)
    body = msgspec.json.encode(ProblemDocument(f"/problems/{slug}", title, status, detail, instance, request_id))
    log.info("refused a request of %s: %d, %s", client, status, detail, extra={"request_id": request_id})
    lines = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"date: {formatdate(usegmt=True)}",
        f"content-type: {MEDIA_TYPE}",
        f"content-length: {len(body)}",
        "cache-control: no-store",
        f"x-request-id: {request_id}",
        *(f"{name.decode()}: {value.decode()}" for name, value in DATA),
        *(f"{name.lower()}: {value}" for name, value in ({"Connection": "close"} | dict(more)).items()),
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if head else body)


# docs/decisions/0055-refused-connections-are-read-on.md
class Farewell:
    """A connection's last moments: its refusal is sent, and what still comes is thrown away until it has been read.

    Prevents: the answer is written · the connection is closed with something unread · the system sends a reset, and
    the client's system throws the answer away with everything else that it has not read.
    """

    def __init__(self, transport: asyncio.Transport, last_word: bytes) -> None:
        self._transport = transport
        self._left = _HEARD_OUT
        transport.write(last_word)
        if transport.can_write_eof():
            transport.write_eof()
        self.timer = asyncio.get_running_loop().call_later(LAST_WORD, transport.abort)
        """Ends the connection of a client that does not."""

    def heard(self, data: bytes) -> None:
        """The client has sent more."""
        self._left -= len(data)
        if self._left < 0:
            self._transport.abort()

    def over(self) -> None:
        """The connection is closed."""
        self.timer.cancel()
