"""Who sends a request."""

from __future__ import annotations

from typing import Any

from litestar import Request

from greenroom.accounts import network


def address_of(request: Request[Any, Any, Any]) -> str:
    """The client's address, as a trusted proxy forwards it; of IPv6 its network, and `-` over a unix socket."""
    return network(request.client.host) if request.client is not None and request.client.host else "-"


def caller_of(request: Request[Any, Any, Any]) -> str:
    """Whose idempotency keys a request's are: those of its address."""
    return f"address:{address_of(request)}"
