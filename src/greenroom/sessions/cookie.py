"""The session's cookie: `__Host-greenroom`, and over plain HTTP `greenroom`, unless it is called otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from greenroom.argument_types import text
from greenroom.errors import InvalidInput

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
"""A token of RFC 6265, 4.1.1."""
_DOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CookieSettings:
    """What the cookie of the sessions is called, and to which requests a browser adds it.

    Arguments:
        name: without a prefix. Over HTTPS it gets `__Host-`: browsers refuse such a cookie without Secure, with a
            Domain or another Path, so that no neighbour can plant one. Over plain HTTP it stands as it is.
        same_site: "lax": not to requests that other sites' pages make, but to links from there; "strict": nor to
            links; "none": to all, for which the middleware needs `allowed_origins`. Over plain HTTP "none" is "lax":
            browsers take no other without Secure.
        domain: the domain that shares the cookie with its subdomains. Each of these can then plant one, and the prefix
            is `__Secure-`.

    Raises:
        InvalidInput: naming the one that cannot be.
    """

    name: str = "greenroom"
    same_site: Literal["lax", "strict", "none"] = "lax"
    domain: str | None = None

    def __post_init__(self) -> None:
        remedy = "give letters, digits, - and _, as CookieSettings(name='shop')"
        if not _NAME.fullmatch(text("name", self.name, remedy)):
            raise InvalidInput("name", f"{self.name!r:.80} is not a name of a cookie", remedy)
        if self.name.lower().startswith(("__host-", "__secure-")):
            raise InvalidInput(
                "name", f"{self.name!r:.80} has a prefix", "give the name alone; it gets the prefix over HTTPS"
            )
        if self.same_site not in ("lax", "strict", "none"):
            raise InvalidInput("same_site", f"is {self.same_site!r:.80}", "use 'lax', 'strict' or 'none'")
        if self.domain is not None:
            remedy = "give the name of a domain, as 'shop.example', or leave it out"
            if not _DOMAIN.fullmatch(text("domain", self.domain, remedy)):
                raise InvalidInput("domain", f"{self.domain!r:.80} is not a name of a domain", remedy)

    def given(self, token: str, *, secure: bool, max_age: int | None = None) -> str:
        """The value of Set-Cookie that gives a client its token.

        Arguments:
            max_age: seconds for which the client keeps it; None: until the browser ends, or the server says so.
        """
        kept = "" if max_age is None else f"Max-Age={max_age}; "
        return f"{self.sent_name(secure=secure)}={token}; {kept}{self._attributes(secure=secure)}"

    def cleared(self, *, secure: bool) -> str:
        """The value of Set-Cookie that takes it away."""
        return f"{self.sent_name(secure=secure)}=; Max-Age=0; {self._attributes(secure=secure)}"

    def values(self, headers: Iterable[bytes], *, secure: bool) -> list[str]:
        """Every value of the session's cookie in the Cookie headers; more than one is not what a browser sends."""
        name = self.sent_name(secure=secure)
        matching = []
        for header in headers:
            for pair in header.decode("latin-1").split(";"):
                given, equals, value = pair.partition("=")
                if equals and given.strip(" \t") == name:
                    matching.append(value.strip(" \t"))
        return matching

    def sent_name(self, *, secure: bool) -> str:
        """The name with its prefix."""
        # Browsers keep no Secure cookie that came over plain HTTP, and none with a prefix that is not Secure.
        prefix = "" if not secure else "__Host-" if self.domain is None else "__Secure-"
        return prefix + self.name

    def _attributes(self, *, secure: bool) -> str:
        domain = "" if self.domain is None else f"Domain={self.domain}; "
        same_site = "lax" if self.same_site == "none" and not secure else self.same_site
        return f"{domain}Path=/; {'Secure; ' if secure else ''}HttpOnly; SameSite={same_site.capitalize()}"


DEFAULT = CookieSettings()
NAME = DEFAULT.sent_name(secure=True)
"""Its usual name over HTTPS."""
