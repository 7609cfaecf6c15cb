"""What a request asks for: the host, and the path with its query, of whatever form its target has (RFC 9112, 3.2)."""

from __future__ import annotations

import re

import httptools

SERVER = b"*"
"""The target of an OPTIONS that asks about the server as a whole (RFC 9110, 9.3.7)."""
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(?::([0-9]{0,5}))?\Z")
"""What a client can have asked for: an address, or a name, with or without a port (RFC 3986, 3.2.2)."""
_AUTHORITY = re.compile(rb"https?://([^/?]*)", re.IGNORECASE)
_LAST_PORT = 65_535


class Unreadable(Exception):
    """Raised in the parser's callbacks: the request is refused with this problem."""

    def __init__(self, slug: str, detail: str) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail


def target_of(method: bytes, sent: bytes) -> tuple[bytes, bytes | None]:
    """Path and query, which is all that an application looks for, and the host that an absolute target names.

    Raises:
        Unreadable: when the target is none that a server is sent.
    """
    if b"#" in sent:
        raise Unreadable("bad-request", "its target has a fragment; send what stands before the #")
    if sent.startswith(b"/") or (sent == SERVER and method == b"OPTIONS"):
        return sent, None
    authority = _AUTHORITY.match(sent)
    if authority is None:
        raise Unreadable("bad-request", "its target is none; send a path, or an http or https address")
    if b"@" in authority[1]:
        # RFC 9110, 4.2.4: a name before the @ is there to pass for the host.
        raise Unreadable("bad-request", "its target has a user's name; send the host alone")
    try:
        parsed = httptools.parse_url(sent)
    except httptools.HttpParserInvalidURLError:
        raise Unreadable("bad-request", "its target is not an address that can be read") from None
    return (parsed.path or b"/") + (b"?" + parsed.query if parsed.query else b""), authority[1]


def host_of(sent: bytes) -> bytes:
    """A `Host` header's value, or the host of an absolute target, which counts in its place (RFC 9112, 3.2.2).

    Raises:
        Unreadable: when it is none.
    """
    match = _HOST.match(sent)
    if match is None or int(match[1] or 0) > _LAST_PORT:
        raise Unreadable("bad-request", "its Host is none; send a name or an address, with its port")
    return sent
