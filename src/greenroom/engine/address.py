"""Where a server is and how to log in to it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from greenroom import argument_types
from greenroom.errors import InvalidInput

if TYPE_CHECKING:
    from greenroom.engine.transport.tls import Tls

DEFAULT_PORT = 6379
SENTINEL_PORT = 26379
SENTINEL_OPTIONS = ("sentinel_user", "sentinel_password")
"""What may stand in the query of an address with sentinels, with or without TLS."""
_ENCRYPTED = {"valkey": False, "redis": False, "valkeys": True, "rediss": True}
_REMEDY = (
    "write it like valkey://host:6379, valkeys://user:password@host, redis+cluster://host1:7001,host2:7002, "
    "valkey+sentinel://host1,host2/mymaster or unix:///path/to.sock"
)
_AUTHORITY = re.compile(r"([^/?#]*//(?:[^/?#]*@)?)([^/?#]*)")
"""All that precedes the hosts of a URL, and the hosts."""
_NAMED = re.compile(r"[A-Za-z0-9._-]+")
"""What sentinels take as the name of a primary."""
_NAME_REMEDY = "end the address with the name from `sentinel monitor`, as valkey+sentinel://host1,host2/mymaster"


@dataclass(frozen=True, slots=True)
class Sentinels:
    """How the sentinels of a primary are asked.

    Arguments:
        name: that of the primary, as the sentinels know it.
        username: for the log-in at the sentinels, whose users are not those of the primary.
        password: that user's, or None: the sentinels take no log-in.
    """

    name: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address; its text never shows the password.

    Arguments:
        hosts: (host, port) of the server, of some nodes of a cluster, or of the sentinels; empty for a unix socket.
        path: the path of a unix socket, or None.
        username: for `HELLO … AUTH`; `default` where only a password is given.
        password: that user's, or None.
        tls: how the connection is encrypted; None: it is not.
        cluster: whether the hosts are nodes of a cluster.
        database: the database number, always 0 in a cluster.
        sentinels: set where the hosts are sentinels, which know the address of the primary; the log-in above is then
            the primary's, and TLS is that of both.
        product: valkey or redis, as the address was written: messages repeat that.
    """

    hosts: tuple[tuple[str, int], ...]
    path: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    cluster: bool = False
    database: int = 0
    sentinels: Sentinels | None = None
    product: str = field(default="valkey", compare=False)

    @classmethod
    def parse(cls, text: str, *, field: str = "address") -> Address:
        """Read an address.

        Arguments:
            field: the name under which an error names the value.

        Raises:
            InvalidInput: when it is of no known form. A password in it is not repeated.
        """
        argument_types.text(field, text, _REMEDY)
        try:
            url, named = _apart(text.strip())
            scheme, _, kind = url.scheme.partition("+")
            # An argument's bytes need not be UTF-8; what a server is told must.
            (url.netloc + named + url.query).encode()
            if url.scheme != "unix" and (scheme not in _ENCRYPTED or kind not in ("", "cluster", "sentinel")):
                raise InvalidInput(field, f"the scheme {url.scheme!r} is not known", _REMEDY)
            login = _login(url, field)
            if scheme == "unix":
                return cls._unix(url, named, login, field)
            hosts = _hosts(named, field, SENTINEL_PORT if kind == "sentinel" else DEFAULT_PORT)
            sentinels, path, query = None, url.path.strip("/"), url.query
            if kind == "sentinel":
                sentinels, path, query = _sentinels(url, field)
            database = _database(path, url.fragment, field)
            tls = None
            if _ENCRYPTED[scheme]:
                from greenroom.engine.transport.tls import Tls  # not with the package: most addresses do without

                tls = Tls.parse(query, field)
            if query and tls is None:
                kinds = f"{scheme}s://" if not kind else f"{scheme}s+{kind}://"
                raise InvalidInput(field, "only an address with TLS has such options", f"use {kinds}")
        except ValueError as error:
            if isinstance(error, InvalidInput):
                raise
            raise InvalidInput(field, "it is not a URL", _REMEDY) from None
        if not kind and len(hosts) > 1:
            remedy = f"use {scheme}+cluster://, or {scheme}+sentinel:// where these are sentinels"
            raise InvalidInput(field, "several hosts need a cluster or sentinels", remedy)
        if kind == "cluster" and database:
            raise InvalidInput(field, "a cluster has database 0 only", "leave the number out")
        product = "redis" if scheme.startswith("redis") else "valkey"
        cluster = kind == "cluster"
        return cls(
            hosts, None, *login, tls=tls, cluster=cluster, database=database, sentinels=sentinels, product=product
        )

    @classmethod
    def _unix(cls, url: SplitResult, named: str, login: tuple[str | None, str | None], field: str) -> Address:
        if url.query or url.fragment:
            raise InvalidInput(field, "a unix socket has no options", _REMEDY)
        if named:
            # `unix://run/valkey.sock` has the host `run`: without it, it would be another path.
            remedy = "write three slashes, like unix:///run/valkey.sock"
            raise InvalidInput(field, "a unix socket has no host", remedy)
        if not url.path or url.path == "/":
            raise InvalidInput(field, "a unix socket needs a path", "write it like unix:///run/valkey.sock")
        return cls((), unquote(url.path, errors="surrogateescape"), *login)  # as Python has names of files

    def __str__(self) -> str:
        login = f"{self.username}@" if self.username else ""
        if self.path is not None:
            return f"unix://{login}{self.path}"
        kind = "+cluster" if self.cluster else "+sentinel" if self.sentinels else ""
        scheme = self.product + ("s" if self.tls else "") + kind
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        name = f"/{self.sentinels.name}" if self.sentinels else ""
        return f"{scheme}://{login}{hosts}{name}" + (f"/{self.database}" if self.database else "")


def _apart(text: str) -> tuple[SplitResult, str]:
    """The URL without its hosts, and these: `urlsplit` takes them for one, and refuses two in brackets."""
    found = _AUTHORITY.match(text)
    if found is None:
        return urlsplit(text), ""
    return urlsplit(found[1] + text[found.end() :]), found[2]


def _login(url: SplitResult, field: str) -> tuple[str | None, str | None]:
    if "@" not in url.netloc:
        return None, None
    username, colon, password = url.netloc.rpartition("@")[0].partition(":")
    if not colon and username:
        # Not repeated: it may be a password. Without one there is no log-in, and the server takes us for `default`.
        raise InvalidInput(field, "its user has no password", "write user:password@, or user:@ for one that needs none")
    if not colon:
        return None, None
    return unquote(username) or "default", unquote(password)


def _sentinels(url: SplitResult, field: str) -> tuple[Sentinels, str, str]:
    """The sentinels of an address, and what is left of its path and of its query."""
    name, _, path = url.path.strip("/").partition("/")
    name = unquote(name)
    if not name:
        raise InvalidInput(field, "it does not name the primary that the sentinels watch", _NAME_REMEDY)
    if _NAMED.fullmatch(name) is None:
        raise InvalidInput(field, "the name of the primary has characters that no sentinel takes", _NAME_REMEDY)
    options = parse_qsl(url.query, keep_blank_values=True)
    login: dict[str, str] = {}
    for option, value in options:
        if option in SENTINEL_OPTIONS:
            if option in login or not value:
                raise InvalidInput(field, f"the option {option!r} needs one value", f"use ?{option}=…")
            login[option] = value
    if "sentinel_user" in login and "sentinel_password" not in login:
        raise InvalidInput(field, "sentinel_user has no password", "add &sentinel_password=…")
    rest = urlencode([one for one in options if one[0] not in SENTINEL_OPTIONS])
    return Sentinels(name, login.get("sentinel_user"), login.get("sentinel_password")), path, rest


def _hosts(named: str, field: str, default_port: int) -> tuple[tuple[str, int], ...]:
    hosts = []
    for text in named.split(","):
        one = urlsplit(f"//{text}")
        if not one.hostname:
            raise InvalidInput(field, "a host is missing", _REMEDY)
        if one.port == 0:
            raise InvalidInput(field, "no server has port 0", "name the server's port, or leave it out for the default")
        # As the resolver will. Prevents: a label is empty, or too long · each attempt to connect fails in no known way.
        one.hostname.encode("idna")
        hosts.append((one.hostname, one.port if one.port is not None else default_port))
    return tuple(hosts)


def _database(text: str, fragment: str, field: str) -> int:
    if fragment or (text and not text.isdecimal()):
        raise InvalidInput(field, "only a database number may stand at its end", _REMEDY)
    return int(text or 0)
