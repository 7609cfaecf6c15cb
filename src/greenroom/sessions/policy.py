"""What a request's signals mean for its session: one pure, total function. The middleware only carries it out."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


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
    """Unencrypted, and never off this machine."""
    PLAIN = "plain"


class Found(enum.Enum):
    """What the look-up of a token gave."""

    LIVE = "live"
    COPY = "copy"
    """What a rotation leaves for requests under way: to be read, not written."""
    NOTHING = "nothing"
    UNAVAILABLE = "unavailable"
    OVERLOADED = "overloaded"
    BROKEN = "broken"


class Outcome(enum.Enum):
    """What a request may do with its session."""

    FOREIGN = "foreign"
    """Answered with 403 before the application is asked."""
    INSECURE = "insecure"
    """No session can be had: whoever listens would have the token. 403 where one is needed."""
    NONE = "none"
    """Nobody is signed in: 401 where a session is needed; one may begin."""
    DEAD = "dead"
    """The token names no live session: 401 where one is needed, and it never becomes a session's."""
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


@dataclass(frozen=True, slots=True)
class Signals:
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
    text: str = field(default="", repr=False)
    plain: str = ""


def decide(signals: Signals, found: Found | None = None) -> Outcome:
    """What the request may do; `found` is None before the look-up."""
    if signals.origin is Origin.FOREIGN and (signals.unsafe or signals.kind is Kind.WEBSOCKET):
        return Outcome.FOREIGN
    if signals.transport is Transport.PLAIN:
        return Outcome.INSECURE
    match signals.token:
        case Token.ABSENT:
            return Outcome.NONE
        case Token.MALFORMED:
            return Outcome.DEAD
        case Token.PRESENT:
            return _looked_up(signals.kind, found)


def _looked_up(kind: Kind, found: Found | None) -> Outcome:
    match found:
        case None:
            return Outcome.LOOK_UP
        case Found.LIVE:
            return Outcome.LIVE
        case Found.COPY:
            # A request under way ends within seconds; a socket opened on the copy would live on a session that is over.
            return Outcome.READ_ONLY if kind is Kind.HTTP else Outcome.DEAD
        case Found.NOTHING:
            return Outcome.DEAD
        case Found.UNAVAILABLE:
            return Outcome.UNAVAILABLE
        case Found.OVERLOADED:
            return Outcome.OVERLOADED
        case Found.BROKEN:
            return Outcome.BROKEN


def sets_cookie(signals: Signals) -> bool:
    """Whether a new token goes to the client as a cookie.

    A client that sends its token itself gets none: its browser would then send it along with every request, other
    sites' included.
    """
    return signals.carrier is Carrier.COOKIE
