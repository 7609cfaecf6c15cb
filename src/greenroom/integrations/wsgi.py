"""A WSGI request as the ASGI scope that policies and answers read (PEP 3333, ASGI HTTP)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_UNPREFIXED = {"CONTENT_TYPE": b"content-type", "CONTENT_LENGTH": b"content-length"}
_BELIEVED = "werkzeug.proxy_fix.orig"
"""Where Werkzeug's ProxyFix keeps what it has replaced."""


def scope_of(environ: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a scope that a WSGI environment knows.

    Headers that came twice stand together in one, as WSGI servers join them. Who behind a proxy is told of the client
    by `ProxyFix` has its address, with port 0 as under uvicorn: what the proxy has added is then believed. A request
    that has no address came over no network: a test has made it in this process, as Flask's `session_transaction` does.
    """
    headers = [(name[5:].replace("_", "-").lower().encode(), _raw(value)) for name, value in _headers(environ)]
    headers += [(name, _raw(environ[key])) for key, name in _UNPREFIXED.items() if environ.get(key)]
    address = environ.get("REMOTE_ADDR", "127.0.0.1")
    port = 0 if _BELIEVED in environ else environ.get("REMOTE_PORT") or 1
    path = _raw(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))
    return {
        "type": "http",
        "method": environ["REQUEST_METHOD"],
        "scheme": environ["wsgi.url_scheme"],
        "path": path.decode("utf-8", "replace"),
        "headers": headers,
        "client": (address, int(port)) if address else None,
    }


def _headers(environ: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in environ.items() if name.startswith("HTTP_")]


def _raw(text: str) -> bytes:
    return text.encode("latin-1", "replace")
