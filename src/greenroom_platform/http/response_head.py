"""The head of an answer as bytes: most of its lines are those of the answer before.

Uvicorn looks through each name and each value for characters that end a line, every time. With a dozen headers that is
a third of what a near hit costs. Here a line that was made once is looked up.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE, RequestResponseCycle

_KEPT = frozenset(
    {
        *(
            b"cache-control",
            b"cache-status",
            b"content-security-policy",
            b"content-type",
            b"cross-origin-opener-policy",
        ),
        *(b"cross-origin-resource-policy", b"date", b"etag", b"permissions-policy", b"referrer-policy", b"vary"),
        b"x-content-type-options",
    }
)
"""Names whose lines are kept. The others differ with each request, as its id does, or are somebody's secret, as a
cookie is, or tell the server how it goes on."""
_MOST = 2048
"""Lines that are kept; then all are made anew."""
_NO_BODY = frozenset({204, 304})

_lines: dict[tuple[bytes, bytes], bytes] = {}


async def send_head(cycle: RequestResponseCycle, message: Any) -> None:
    """Begin an answer, as `send` of uvicorn's cycle does.

    Arguments:
        cycle: whose answer has not begun.
        message: the first of the answer, `http.response.start`.

    Raises:
        RuntimeError: when a header has a character that none can have.
    """
    if cycle.flow.write_paused and not cycle.disconnected:
        await cycle.flow.drain()
    if cycle.disconnected:
        return
    cycle.response_started = True
    cycle.waiting_for_100_continue = False
    status = message["status"]
    lines = [STATUS_LINE[status]]
    closes = False
    for pair in (*cycle.default_headers, *message["headers"]):
        line = _lines.get(pair)
        if line is None:
            name, value = pair[0].lower(), pair[1]
            line = _line_of(name, value)
            if name == b"content-length" and cycle.chunked_encoding is None:
                cycle.expected_content_length = int(value)
                cycle.chunked_encoding = False
            elif name == b"transfer-encoding" and value.lower() == b"chunked":
                cycle.expected_content_length = 0
                cycle.chunked_encoding = True
            elif name == b"connection" and b"close" in (one.strip() for one in value.lower().split(b",")):
                cycle.keep_alive, closes = False, True
        lines.append(line)
    if not cycle.keep_alive and not closes:
        lines.append(b"connection: close\r\n")
    if cycle.chunked_encoding is None and cycle.scope["method"] != "HEAD" and status not in _NO_BODY:
        cycle.chunked_encoding = True
        lines.append(b"transfer-encoding: chunked\r\n")
    lines.append(b"\r\n")
    cycle.transport.write(b"".join(lines))


def _line_of(name: bytes, value: bytes) -> bytes:
    if HEADER_RE.search(name):
        raise RuntimeError("Invalid HTTP header name.")
    if HEADER_VALUE_RE.search(value):
        raise RuntimeError("Invalid HTTP header value.")
    line = b"%b: %b\r\n" % (name, value)
    if name in _KEPT:
        if len(_lines) >= _MOST:
            _lines.clear()
        _lines[name, value] = line
    return line
