"""What a request asks for: the host, and the path with its query, of whatever form its target has (RFC 9112, 3.2)."""

from __future__ import annotations

import re

import httptools

_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(?::[0-9]{0,5})?\Z")
"""What a client can have asked for: an address, or a name, with or without a port (RFC 3986, 3.2.2)."""


class Unreadable(Exception):
    """Raised in the parser's callbacks: the request is refused with this problem."""

    def __init__(self, slug: str, detail: str) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail


def host_of(target: bytes, sent: bytes) -> bytes:
    """The host that is asked for. That of an absolute target counts, whatever the header says (RFC 9112, 3.2.2).

    Arguments:
        sent: the header's value.

    Raises:
        Unreadable: when it is none.
    """
    if not target.startswith((b"/", b"*")):
        try:
            parsed = httptools.parse_url(target)
        except httptools.HttpParserInvalidURLError:
            raise Unreadable("bad-request", "its target is no address that can be read") from None
        if parsed.host:
            host = b"[%b]" % parsed.host if b":" in parsed.host else parsed.host
            sent = host if parsed.port is None else b"%b:%d" % (host, parsed.port)
    if not _HOST.match(sent):
        raise Unreadable("bad-request", "its Host is none; send a name or an address, with its port")
    return sent


def origin_form(target: bytes) -> bytes:
    """An absolute target as its path and query, which is all that an application looks for."""
    if target.startswith((b"/", b"*")):
        return target
    parsed = httptools.parse_url(target)
    return (parsed.path or b"/") + (b"?" + parsed.query if parsed.query else b"")
