"""Whether a request without encryption may have left this machine: then whoever listens would have its token."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from greenroom.errors import InvalidInput

SECURE = frozenset({"https", "wss"})
"""Schemes of an ASGI scope that are encrypted."""
_LONGEST_HOST = 300
"""Characters; a name has 253 at most."""

AllowHttp = Literal["loopback", "localhost", "anywhere"]
"""Where sessions work over plain HTTP.

`loopback`: for requests that never left this machine. `localhost`: for all that ask for this machine by name, whatever
their address: a container's clients come from its bridge. `anywhere`: whoever listens on the way has the tokens.
"""
ALLOW_HTTP: tuple[AllowHttp, ...] = ("loopback", "localhost", "anywhere")


def allowed_http(allow_http: AllowHttp | bool) -> AllowHttp:
    """Where plain HTTP is allowed; True is anywhere.

    Raises:
        InvalidInput: for what says nothing of it.
    """
    if isinstance(allow_http, bool):
        return "anywhere" if allow_http else "loopback"
    if allow_http not in ALLOW_HTTP:
        raise InvalidInput("allow_http", f"is {allow_http!r:.80}", "use 'loopback', 'localhost', or True for anywhere")
    return allow_http


_FORWARDING = frozenset(
    {
        *(b"forwarded", b"forwarded-for", b"via", b"cdn-loop", b"client-ip", b"front-end-https", b"true-client-ip"),
        *(b"cf-connecting-ip", b"cf-connecting-ipv6", b"cf-visitor", b"fastly-client-ip", b"wl-proxy-client-ip"),
        *(b"x-client-ip", b"x-cluster-client-ip", b"x-envoy-external-address", b"x-original-for", b"x-original-host"),
        *(b"x-original-forwarded-for", b"x-original-proto", b"x-real-ip", b"x-scheme", b"x-url-scheme", b"x-host"),
        *(b"fly-client-ip", b"x-azure-clientip", b"x-appengine-user-ip", b"x-proxyuser-ip", b"do-connecting-ip"),
    }
)
"""What proxies add, by RFC 7239, 8586 and 9110 and by custom; and every name that begins as `_FORWARDED`."""
_FORWARDED = b"x-forwarded"


def shows_a_proxy(name: bytes) -> bool:
    """Whether a header of this name is added by proxies."""
    return name in _FORWARDING or name.startswith(_FORWARDED)


def why_plain(
    scope: Mapping[str, Any], *, host: str, origin: str | None, forwarding: str | None, any_peer: bool
) -> str:
    """Why an unencrypted request may have left this machine, with the remedy; empty where it has not, or is encrypted.

    Behind a proxy the server must be told the client's scheme (uvicorn: `forwarded_allow_ips`). One that it is not
    told of connects from loopback too, where it runs on this machine, and its clients are anywhere. It shows by the
    host that was asked for; where it rewrites that, by what it adds, or by the origin of the page that sends.

    Arguments:
        host: that was asked for, in lower case; empty where none was named.
        origin: of the page that sends, likewise; None without one.
        forwarding: the name of a header that shows a proxy, where there is one.
        any_peer: whether the peer may be another machine.
    """
    if scope.get("scheme") in SECURE:
        return ""
    client = scope.get("client")
    if not any_peer and (client is None or not _is_loopback(client[0])):
        where = "an unknown peer" if client is None else f"{shown(client[0])}, which is not this machine"
        remedy = _CONTAINER if client is not None else _PROXY
        return f"the request came unencrypted from {where}, for the host {shown(host)}; {remedy}"
    if len(host) > _LONGEST_HOST or not _asks_loopback(host):
        return f"the request came unencrypted for the host {shown(host)}; {_PROXY}"
    # A server that believes a peer puts the address that is forwarded in its place, with port 0.
    named = None if client is not None and client[1] == 0 else forwarding
    if named is not None:
        peer = "an unknown peer" if client is None else client[0]
        return f"the request has {named} from {peer}, which is not trusted; {_PROXY}"
    if origin is not None and (len(origin) > _LONGEST_HOST or not _is_loopback_origin(origin)):
        return f"the request came unencrypted from a page of {shown(origin)}; {_PROXY}"
    return ""


_PROXY = (
    "let the proxy send X-Forwarded-For and X-Forwarded-Proto, and name its address in GREENROOM_TRUSTED_PROXIES "
    "(uvicorn: forwarded_allow_ips; Flask: Werkzeug's ProxyFix)"
)
_CONTAINER = (
    f"if that is a proxy, {_PROXY}; if it is a container's bridge on your own machine, as Docker's, run the container "
    "in the host's network, or allow it with SessionMiddleware(…, allow_http='localhost')"
)


def shown(text: str) -> str:
    """What a client has sent, as an error or a log line quotes it: cut, and without control characters."""
    return repr(text if len(text) <= 80 else f"{text[:80]}…")


@lru_cache(maxsize=256)
def _asks_loopback(host: str) -> bool:
    parts = split_url(f"http://{host}")
    return parts is not None and _is_loopback(parts.hostname or "")


@lru_cache(maxsize=256)
def _is_loopback_origin(origin: str) -> bool:
    parts = split_url(origin)
    return parts is not None and _is_loopback(parts.hostname or "")


@lru_cache(maxsize=1024)
def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def split_url(url: str) -> SplitResult | None:
    """The URL's parts; None for what is none."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises for what is no port
    except ValueError:
        return None
    return parts
