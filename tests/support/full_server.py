"""A server that has reached `maxmemory` and evicts nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.real_servers import Server


@contextmanager
def full(server: Server) -> Iterator[None]:
    """Let the server have no memory left."""
    raw = server.raw()
    raw("CONFIG", "SET", "maxmemory", "1")
    assert str(raw("SET", "any", "x")).startswith("OOM")
    try:
        yield
    finally:
        raw("CONFIG", "SET", "maxmemory", "0")
        raw.close()
