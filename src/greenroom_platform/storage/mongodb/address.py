"""The address of a record on MongoDB, checked before anything connects."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlsplit

from greenroom.errors import InvalidInput

SCHEMES = "mongodb", "mongodb+srv"
_REMEDY = "write it like mongodb://USER:PASSWORD@host1,host2/greenroom?replicaSet=rs0"
# What the server's manual forbids in names of databases, on any platform.
_NAME = re.compile(r'[^/\\. "$*<>:|?\0]{1,63}')
_SYSTEM = "admin", "config", "local"
_OURS = {
    "readpreference": ("primary", "reads must see every change that was acknowledged: read from the primary"),
    "readconcernlevel": ("majority", "leave it out: each read has the concern that it needs"),
    "w": ("majority", "leave it out: changes are acknowledged by the majority"),
    "journal": ("true", "leave it out: changes are acknowledged when they are in the journal"),
    "retrywrites": ("true", "leave it out: a repeated write must not count twice"),
}
"""Options that may say only what holds anyway, and why; names are without case."""


def mongodb_name(url: str, *, field: str = "database") -> str:
    """The name of the database in `mongodb://…/NAME`; nothing is connected to, and no error repeats a password.

    Raises:
        InvalidInput: where the record cannot be kept as the address says.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidInput(field, "it is not an address", _REMEDY) from None
    # Prevents: a password has a / in it · what is behind it counts as the database's name, and is quoted.
    if any("@" in part for part in (parts.path, parts.query, parts.fragment)):
        reason = "special characters in the user, the password or an option are written as %XX: %40 for @, %2F for /"
        raise InvalidInput(field, reason, _REMEDY)
    if parts.scheme not in SCHEMES:
        raise InvalidInput(field, f"{parts.scheme}: is not known", _REMEDY)
    if not parts.netloc.rpartition("@")[2]:
        raise InvalidInput(field, "it names no host", _REMEDY)
    name = unquote(parts.path.removeprefix("/"))
    if not name:
        raise InvalidInput(field, "it names no database", f"put the name behind the host; {_REMEDY}")
    if _NAME.fullmatch(name) is None or name in _SYSTEM:
        raise InvalidInput(field, f"{name[:80]!r} cannot be the name of the database", _REMEDY)
    for option, value in parse_qsl(parts.query, keep_blank_values=True):
        only, why = _OURS.get(option.lower(), (value, ""))
        if value.lower() != only:
            raise InvalidInput(field, f"{option}={value[:40]} cannot be", why)
    return name


def is_mongodb(url: str) -> bool:
    """Whether an address is of MongoDB, good or bad."""
    return url.partition(":")[0] in SCHEMES


def without_password(url: str) -> str:
    """The address as it may be shown: hosts and database, no user, no password, no options."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
