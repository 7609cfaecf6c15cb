"""A keyspace: everything about one kind of key, declared once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Generic, TypeVar

from greenroom.argument_types import whole_number
from greenroom.errors import BrokenValue, InvalidInput, OtherVersionValue
from greenroom.keyspace.codec import Codec
from greenroom.keyspace.derived_keys import absent_key, derived_key, lease_key
from greenroom.keyspace.frozen import is_frozen
from greenroom.keyspace.lifetime import JITTER, Lifetime
from greenroom.keyspace.mismatch import OtherVersion, SchemaMismatch
from greenroom.keyspace.parts import Kind
from greenroom.keyspace.pattern import Pattern

T = TypeVar("T")

MAX_VERSION = 64
"""Versions of a keyspace: each is as many bytes of every value."""
_VERSIONS = f"use a whole number from 1 to {MAX_VERSION}, or leave it out"
VALUE_LIMIT = 1_000_000
"""Bytes of JSON above which a value is answered, not stored: one large reply delays every small one behind it."""


class Keyspace(Generic[T]):
    """The keys of one format, the type of their values and how long these live.

    Arguments:
        pattern: the key format, as `cache:episode:{episode_id}`.
        type_: what a value decodes to.
        ttl: the hard lifetime; no value lives longer.
        fresh: the soft lifetime; past it a value is served and refreshed behind. None: fresh until `ttl`.
        parts: the parts that are no plain words: `int`, `Number(1, 100)` with its bounds, `uuid.UUID`, `datetime.date`,
            or `Text()` for any text. A word is 1 to 128 characters of `A-Z a-z 0-9 . _ ~ -`.
        version: of the type, from 1 to 64; values of another are loaded anew. 0: whatever fits the type is taken. See
            docs/keyspaces.md.
        limit: the largest value stored, in bytes of JSON.
        jitter: the largest share of the lifetime that is cut off at random, so that keys do not lapse together.
        name: the label in metrics and documents; by default the pattern's literal words.
        title: the heading of its section in `greenroom definitions`.
        purpose: its use case there.
        source: what feeds it, there.
        note: what is said beside its lifetime, there.

    Raises:
        InvalidInput: for a pattern or lifetimes that are not valid.
    """

    __slots__ = (
        "codec",
        "frozen",
        "lifetime",
        "limit",
        "name",
        "note",
        "pattern",
        "purpose",
        "source",
        "title",
        "type",
        "version",
    )

    def __init__(
        self,
        pattern: str | Pattern,
        type_: type[T],
        *,
        ttl: timedelta,
        fresh: timedelta | None = None,
        parts: Mapping[str, Kind] | None = None,
        version: int = 0,
        limit: int = VALUE_LIMIT,
        jitter: float = JITTER,
        name: str = "",
        title: str = "",
        purpose: str = "",
        source: str = "",
        note: str = "",
    ) -> None:
        if not isinstance(name, str) or not name.isprintable() or not {'"', "\\"}.isdisjoint(name):
            raise InvalidInput("name", f"is {name!r:.80}", "use letters, digits, _ and -: it is a label of metrics")
        self.pattern = pattern if isinstance(pattern, Pattern) else Pattern(pattern, parts=parts)
        self.type = type_
        self.version = whole_number("version", version, 0, _VERSIONS)
        if version > MAX_VERSION:
            raise InvalidInput("version", f"is {version}", f"{_VERSIONS}; after {MAX_VERSION} begin again at 1")
        self.codec = Codec(type_, version)
        self.frozen = is_frozen(type_)
        """Whether one decoded value may be given to many callers."""
        self.lifetime = Lifetime(ttl, fresh, jitter)
        self.limit = whole_number("limit", limit, 1, "use a size in bytes above zero")
        words = (word for word in self.pattern.text.split(":") if word and not word.startswith("{"))
        self.name = name or "_".join(words)
        self.title = title or self.name
        self.purpose = purpose
        self.source = source
        self.note = note

    def prefixed(self, prefix: str) -> Keyspace[T]:
        """The same keyspace with `prefix` before every key and companion."""
        return Keyspace(
            self.pattern.prefixed(prefix),
            self.type,
            ttl=self.lifetime.ttl,
            fresh=self.lifetime.fresh,
            version=self.version,
            limit=self.limit,
            jitter=self.lifetime.jitter,
            name=self.name,
            title=self.title,
            purpose=self.purpose,
            source=self.source,
            note=self.note,
        )

    def key(self, *args: object, **parts: object) -> str:
        """The key of these parts; see `Pattern.key` for what is refused."""
        return self.pattern.key(*args, **parts)

    def lease_key(self, key: str) -> str:
        """The companion that says who loads `key`."""
        return lease_key(self.pattern.prefix, key)

    def absent_key(self, key: str) -> str:
        """The companion that remembers that the record holds nothing for `key`."""
        return absent_key(self.pattern.prefix, key)

    def mark_key(self, key: str) -> str:
        """The companion that holds the generation under which the value of `key` was stored."""
        return derived_key(self.pattern.prefix, "mark", key)

    def decode(self, key: str, data: bytes) -> T:
        """The value of stored JSON.

        Raises:
            BrokenValue: when it does not fit the type.
            OtherVersionValue: when it is of another version.
        """
        try:
            return self.codec.decode(data)
        except OtherVersion as error:
            raise OtherVersionValue(key, str(error)) from None
        except SchemaMismatch as error:
            raise BrokenValue(key, str(error)) from None

    def encode(self, key: str, value: T) -> bytes:
        """The JSON of a value.

        Raises:
            As `round_trip`.
        """
        return self.round_trip(key, value)[0]

    def round_trip(self, key: str, value: T) -> tuple[bytes, T]:
        """The JSON of a value, and the equal value that everybody will read from it.

        Raises:
            BrokenValue: when it cannot be written, or would be read differently.
        """
        try:
            return self.codec.round_trip(value)
        except SchemaMismatch as error:
            raise BrokenValue(key, str(error)) from None

    def __repr__(self) -> str:
        return f"Keyspace({self.pattern.prefix + self.pattern.text!r}, {self.type!r})"


def group_pattern(text: str, keyspace: Keyspace[Any]) -> Pattern:
    """A group's pattern, whose parts are some of the keyspace's.

    Raises:
        InvalidInput: for a part that the keyspace's keys do not have.
    """
    of_keys = keyspace.pattern
    names = Pattern(text).names
    if unknown := sorted(set(names) - set(of_keys.names)):
        has = ", ".join(of_keys.names) or "none"
        raise InvalidInput("groups", f"{text!r} has the part {', '.join(unknown)}", f"use parts of {keyspace}: {has}")
    return Pattern(text, parts={name: kind for name, kind in of_keys.declared.items() if name in names})
