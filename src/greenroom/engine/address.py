"""Where a server is and how to log in to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from greenroom import argument_types
from greenroom.errors import InvalidInput

if TYPE_CHECKING:
    from greenroom.engine.transport.tls import Tls

DEFAULT_PORT = 6379
_ENCRYPTED = {"valkey": False, "redis": False, "valkeys": True, "rediss": True}
_REMEDY = (
    "write it like valkey://host:6379, valkeys://user:password@host, redis+cluster://host1:7001,host2:7002 "
    "or unix:///path/to.sock"
)


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address; its text never shows the password.

    Arguments:
        hosts: (host, port) of the server, or of some nodes of a cluster; empty for a unix socket.
        path: the path of a unix socket, or None.
        username: for `HELLO … AUTH`; `default` where only a password is given.
        password: that user's, or None.
        tls: how the connection is encrypted; None: it is not.
        cluster: whether the hosts are nodes of a cluster.
        database: the database number, always 0 in a cluster.
        product: valkey or redis, as the address was written: messages repeat that.
    """

    hosts: tuple[tuple[str, int], ...]
    path: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    cluster: bool = False
    database: int = 0
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
            url = urlsplit(text.strip())
            scheme, _, kind = url.scheme.partition("+")
            login = _login(url)
            if scheme == "unix" and not kind:
                return cls._unix(url, login, field)
            if scheme not in _ENCRYPTED or kind not in ("", "cluster"):
                raise InvalidInput(field, f"the scheme {url.scheme!r} is not known", _REMEDY)
            hosts = _hosts(url, field)
            database = _database(url, field)
            tls = None
            if _ENCRYPTED[scheme]:
                from greenroom.engine.transport.tls import Tls  # not with the package: most addresses do without

                tls = Tls.parse(url.query, field)
            if url.query and tls is None:
                raise InvalidInput(field, "only an address with TLS has options", f"use {scheme}s://")
        except ValueError as error:
            if isinstance(error, InvalidInput):
                raise
            raise InvalidInput(field, "it is not a URL", _REMEDY) from None
        if not kind and len(hosts) > 1:
            raise InvalidInput(field, "several hosts need a cluster", f"use {scheme}+cluster://")
        if kind and database:
            raise InvalidInput(field, "a cluster has database 0 only", "leave the number out")
        product = "redis" if scheme.startswith("redis") else "valkey"
        return cls(hosts, None, *login, tls=tls, cluster=bool(kind), database=database, product=product)

    @classmethod
    def _unix(cls, url: SplitResult, login: tuple[str | None, str | None], field: str) -> Address:
        if url.query or url.fragment:
            raise InvalidInput(field, "a unix socket has no options", _REMEDY)
        if not url.path or url.path == "/":
            raise InvalidInput(field, "a unix socket needs a path", "write it like unix:///run/valkey.sock")
        return cls((), unquote(url.path), *login)

    def __str__(self) -> str:
        login = f"{self.username}@" if self.username else ""
        if self.path is not None:
            return f"unix://{login}{self.path}"
        scheme = self.product + ("s" if self.tls else "") + ("+cluster" if self.cluster else "")
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return f"{scheme}://{login}{hosts}" + (f"/{self.database}" if self.database else "")


def _login(url: SplitResult) -> tuple[str | None, str | None]:
    if "@" not in url.netloc:
        return None, None
    username, colon, password = url.netloc.rpartition("@")[0].partition(":")
    if not colon:
        return unquote(username) or None, None
    return unquote(username) or "default", unquote(password)


def _hosts(url: SplitResult, field: str) -> tuple[tuple[str, int], ...]:
    hosts = []
    for text in url.netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{text}")
        if not one.hostname:
            raise InvalidInput(field, "a host is missing", _REMEDY)
        hosts.append((one.hostname, one.port if one.port is not None else DEFAULT_PORT))
    return tuple(hosts)


def _database(url: SplitResult, field: str) -> int:
    text = url.path.strip("/")
    if url.fragment or (text and not text.isdecimal()):
        raise InvalidInput(field, "only a database number may follow the host", _REMEDY)
    return int(text or 0)
