"""The session's cookie: `__Host-greenroom`, and over plain HTTP on loopback `greenroom`."""

from __future__ import annotations

from collections.abc import Iterable

NAME = "__Host-greenroom"
"""The prefix makes browsers refuse it without Secure, with a Domain or another Path: no neighbour can plant one."""
LOOPBACK_NAME = "greenroom"
"""Browsers keep no Secure cookie that came over plain HTTP, and none with the prefix that is not Secure."""


def cookie(token: str, *, secure: bool) -> str:
    """The value of Set-Cookie that gives a client its token; it ends with the browser, or when the server says so."""
    return f"{_name(secure)}={token}; {_attributes(secure)}"


def cleared(*, secure: bool) -> str:
    """The value of Set-Cookie that takes it away."""
    return f"{_name(secure)}=; Max-Age=0; {_attributes(secure)}"


def values(headers: Iterable[bytes], *, secure: bool) -> list[str]:
    """Every value of the session's cookie in the Cookie headers; more than one is not what a browser sends."""
    name = _name(secure)
    matching = []
    for header in headers:
        for pair in header.decode("latin-1").split(";"):
            given, equals, value = pair.partition("=")
            if equals and given.strip(" \t") == name:
                matching.append(value.strip(" \t"))
    return matching


def _name(secure: bool) -> str:
    return NAME if secure else LOOPBACK_NAME


def _attributes(secure: bool) -> str:
    return "Path=/; Secure; HttpOnly; SameSite=Lax" if secure else "Path=/; HttpOnly; SameSite=Lax"
