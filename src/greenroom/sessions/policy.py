"""What a request may do with its session: signals are read from its ASGI scope, and one pure function decides.

The middleware only carries the decision out.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from greenroom.argument_types import text, type_name
from greenroom.errors import InvalidInput
from greenroom.sessions.cookie import DEFAULT, CookieSettings
from greenroom.sessions.plain_http import SECURE, AllowHttp, shows_a_proxy, split_url, why_plain
from greenroom.sessions.token import is_token


class Kind(enum.Enum):
    """What was opened."""

    HTTP = "http"
    WEBSOCKET = "websocket"


class Origin(enum.Enum):
    """Whose page, if any, sent the request."""

    NONE = "none"
    """No browser's: it says nothing of an origin."""
    SAME = "same"
    """A page of this host, or the user by the address bar."""
    ALLOWED = "allowed"
    """A page of an origin that the application allows."""
    FOREIGN = "foreign"


class Token(enum.Enum):
    """What was presented; one that is malformed is refused before any look-up."""

    ABSENT = "absent"
    MALFORMED = "malformed"
    PRESENT = "present"


class Carrier(enum.Enum):
    """How a token came. A request without one counts as a browser's, which will send cookies."""

    COOKIE = "cookie"
    BEARER = "bearer"


class Transport(enum.Enum):
    """How the request came."""

    SECURE = "secure"
    LOOPBACK = "loopback"
    """Unencrypted, and never off this machine, or allowed so all the same."""
    PLAIN = "plain"


class LookUp(enum.Enum):
    """What the look-up of a token gave."""

    LIVE = "live"
    COPY = "copy"
    """What a rotation leaves for requests under way: to be read, not written."""
    NOTHING = "nothing"
    UNAVAILABLE = "unavailable"
    OVERLOADED = "overloaded"
    BROKEN = "broken"


class Decision(enum.Enum):
    """What a request may do with its session."""

    FOREIGN = "foreign"
    """Answered with 403 before the application is asked."""
    INSECURE = "insecure"
    """No session can be had: whoever listens would have the token. 403 where one is needed."""
    NONE = "none"
    """Nobody is signed in: 401 where a session is needed; one may begin."""
    DEAD = "dead"
    """The token names no live session: 401 where one is needed. No new session ever takes it over."""
    LOOK_UP = "look up"
    """The store must be asked."""
    LIVE = "live"
    READ_ONLY = "read only"
    UNAVAILABLE = "unavailable"
    """503 where a session is needed; never "not signed in"."""
    OVERLOADED = "overloaded"
    """503 where a session is needed; a full queue is no anonymous user."""
    BROKEN = "broken"
    """500 where a session is needed; what cannot be read is neither over nor overwritten."""


class Signals(msgspec.Struct, frozen=True, gc=False):
    """What is known of a request before its token is looked up.

    Arguments:
        unsafe: whether its method may change something (RFC 9110, 9.2.1).
        text: the token, where one is present; never shown.
        plain: what makes the transport plain, and what to set, for who must mend it; empty where it is not.
    """

    kind: Kind
    unsafe: bool
    origin: Origin
    token: Token
    carrier: Carrier
    transport: Transport
    text: str = ""
    plain: str = ""

    def __repr__(self) -> str:
        """Without the token."""
        return f"Signals({self.kind}, {self.origin}, {self.token}, {self.carrier}, {self.transport}, {self.plain!r})"


def decide(signals: Signals, found: LookUp | None = None) -> Decision:
    """What the request may do; `found` is None before the look-up."""
    if signals.origin is Origin.FOREIGN and (signals.unsafe or signals.kind is Kind.WEBSOCKET):
        return Decision.FOREIGN
    if signals.transport is Transport.PLAIN:
        return Decision.INSECURE
    match signals.token:
        case Token.ABSENT:
            return Decision.NONE
        case Token.MALFORMED:
            return Decision.DEAD
        case Token.PRESENT:
            return _looked_up(signals.kind, found)


def _looked_up(kind: Kind, found: LookUp | None) -> Decision:
    match found:
        case None:
            return Decision.LOOK_UP
        case LookUp.LIVE:
            return Decision.LIVE
        case LookUp.COPY:
            # A request under way ends within seconds; a socket opened on the copy would live on a session that is over.
            return Decision.READ_ONLY if kind is Kind.HTTP else Decision.DEAD
        case LookUp.NOTHING:
            return Decision.DEAD
        case LookUp.UNAVAILABLE:
            return Decision.UNAVAILABLE
        case LookUp.OVERLOADED:
            return Decision.OVERLOADED
        case LookUp.BROKEN:
            return Decision.BROKEN


def sets_cookie(signals: Signals) -> bool:
    """Whether a new token goes to the client as a cookie.

    A client that sends its token itself gets none: its browser would then send it along with every request, other
    sites' included.
    """
    return signals.carrier is Carrier.COOKIE


_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_SAYING = frozenset({b"host", b"origin", b"sec-fetch-site"})
_CREDENTIALS = frozenset({b"authorization", b"cookie"})
_SHOWN = 80
"""Characters of a proxy's header that are shown."""
_WAYS = 1024
"""Ways of requests that are remembered, none with its token: most requests come as the one before did."""
_LONGEST_KNOWN = 512
"""Bytes of host, origin and site above which the signals are found anew. Prevents: somebody sends long hosts, each
another · all of them are kept."""
_Header = tuple[bytes, bytes]
_DEFAULT_PORTS = {"http": 80, "https": 443}
_ORIGINS = 'give a list of origins, as ["https://www.example.org"]'


def signals_of(
    scope: Mapping[str, Any],
    allowed: frozenset[str],
    cookie: CookieSettings = DEFAULT,
    allow_http: AllowHttp = "loopback",
) -> Signals:
    """The signals of an `http` or `websocket` scope.

    Arguments:
        allowed: origins, as `origins` returns them.
        cookie: the session's.
        allow_http: where sessions work over plain HTTP.
    """
    said: list[_Header] = []
    credentials: list[_Header] = []
    size = 0
    for header in scope["headers"]:
        name = header[0]  # in lower case by the ASGI specification
        if name in _SAYING:
            said.append(header)
            size += len(header[1])
        elif name in _CREDENTIALS:
            credentials.append(header)
        elif shows_a_proxy(name):
            said.append((name[:_SHOWN], b""))  # that it is there says all
    client = scope.get("client")
    peer = None if client is None else (client[0], int(client[1] != 0))  # of its port only 0 says anything
    found = (_known if size <= _LONGEST_KNOWN else _without_token)(
        scope["type"], scope.get("method"), scope.get("scheme"), peer, tuple(said), allowed, allow_http
    )
    if not credentials:
        return found
    token, carrier, text = _token(credentials, cookie, secure=found.transport is Transport.SECURE)
    return msgspec.structs.replace(found, token=token, carrier=carrier, text=text)


def origins(allowed: Iterable[str]) -> frozenset[str]:
    """Origins as they are compared with what browsers send.

    Raises:
        InvalidInput: for what is no collection of strings; one string would be a collection of its characters.
    """
    if isinstance(allowed, str) or not isinstance(allowed, Iterable):
        raise InvalidInput("allowed_origins", f"is {type_name(allowed)}, not a list", _ORIGINS)
    allowed = list(allowed)
    for origin in allowed:
        text("allowed_origins", origin, _ORIGINS)
    return frozenset(_as_sent(origin.lower().rstrip("/")) for origin in allowed)


def _as_sent(origin: str) -> str:
    """An origin without its scheme's port, which browsers leave out."""
    port = _DEFAULT_PORTS.get(origin.partition("://")[0])
    return origin if port is None else origin.removesuffix(f":{port}")


def _token(credentials: Iterable[_Header], cookie: CookieSettings, *, secure: bool) -> tuple[Token, Carrier, str]:
    """An Authorization goes before a cookie: a client sends it on purpose, a browser its cookies unasked."""
    sent = [value.decode("latin-1").partition(" ") for name, value in credentials if name == b"authorization"]
    bearers = [text.strip() for scheme, _, text in sent if scheme.lower() == "bearer"]
    cookies = (value for name, value in credentials if name == b"cookie")
    presented = bearers or cookie.values(cookies, secure=secure)
    carrier = Carrier.BEARER if bearers else Carrier.COOKIE
    if not presented:
        return Token.ABSENT, carrier, ""
    if len(presented) > 1 or not is_token(presented[0]):
        # Of two tokens nobody can say which is the client's own and which was planted.
        return Token.MALFORMED, carrier, ""
    return Token.PRESENT, carrier, presented[0]


def _without_token(
    type_: str,
    method: str | None,
    scheme: str | None,
    peer: tuple[str, int] | None,
    said: tuple[_Header, ...],
    allowed: frozenset[str],
    allow_http: AllowHttp,
) -> Signals:
    """The signals of a request without a token; a pure function of what hardly differs from request to request."""
    host, origin, site = (_text(said, name) for name in (b"host", b"origin", b"sec-fetch-site"))
    forwarding = next((name.decode("latin-1") for name, _ in reversed(said) if name not in _SAYING), None)
    plain = ""
    if allow_http != "anywhere":
        sent = {"scheme": scheme, "client": peer}
        any_peer = allow_http == "localhost"
        plain = why_plain(sent, host=host or "", origin=origin, forwarding=forwarding, any_peer=any_peer)
    secure, kind = scheme in SECURE, Kind(type_)
    return Signals(
        kind=kind,
        unsafe=kind is Kind.HTTP and method not in _SAFE,
        origin=_origin(host, origin, site, allowed, secure=secure),
        token=Token.ABSENT,
        carrier=Carrier.COOKIE,
        transport=Transport.SECURE if secure else Transport.PLAIN if plain else Transport.LOOPBACK,
        plain=plain,
    )


_known = lru_cache(_WAYS)(_without_token)


def _text(said: tuple[_Header, ...], name: bytes) -> str | None:
    """A header, in lower case; None without it, and what is there twice is nothing that could be right."""
    values = [value for given, value in said if given == name]
    return b", ".join(values).decode("latin-1").strip().lower() if values else None


def _origin(host: str | None, origin: str | None, site: str | None, allowed: frozenset[str], *, secure: bool) -> Origin:
    """In this order, since a browser's own word on same-origin knows of the scheme and of what a proxy did to Host."""
    if origin is not None and origin in allowed:
        return Origin.ALLOWED
    if site is not None:
        # "same-site" is another host of the same owner, or of a hosting provider's other customer.
        return Origin.SAME if site in ("same-origin", "none") else Origin.FOREIGN
    if origin is None:
        return Origin.NONE
    return Origin.SAME if _is_own(origin, host, secure=secure) else Origin.FOREIGN


def _is_own(origin: str, host: str | None, *, secure: bool) -> bool:
    page, own = split_url(origin), split_url(f"http://{host or ''}")
    if page is None or own is None or page.scheme not in _DEFAULT_PORTS or not page.hostname:
        return False  # "null" too: a sandboxed frame's or a file's
    if secure and page.scheme != "https":
        return False  # whoever is on the way can write pages of this host in plain HTTP
    default = _DEFAULT_PORTS[page.scheme]
    return (page.hostname, page.port or default) == (own.hostname, own.port or default)
