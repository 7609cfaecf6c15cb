"""Values to JSON and back, typed: msgspec structs, dataclasses, plain containers, and pydantic models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from greenroom.keyspace import msgspec_format
from greenroom.keyspace.mismatch import SchemaMismatch
from greenroom.keyspace.round_trip import difference
from greenroom.keyspace.type_parts import classes, parts

T = TypeVar("T")


class Codec(Generic[T]):
    """Encodes and decodes one type.

    Arguments:
        type_: any type that msgspec knows (frozen structs are best), or one with pydantic models in it.
        version: of the values, where others are refused; 0 takes all that fit the type.

    Raises:
        InvalidInput: for a type with a part whose values cannot be stored; it names the member.
    """

    __slots__ = ("_compares", "_encode", "_named", "decode", "schema", "type")

    def __init__(self, type_: type[T], version: int = 0) -> None:
        self.type = type_
        self._named: frozenset[type] | None = None
        if any(part.pydantic for part in parts(type_)):
            from greenroom.keyspace import pydantic_format  # pydantic is no dependency of ours

            self.decode, self._encode, self.schema = pydantic_format.functions(type_)
            self._compares = False
            self._named = classes(type_)
        else:
            self.decode, self._encode, self.schema, self._compares = msgspec_format.functions(type_)
        if version:
            from greenroom.keyspace.versions import versioned  # few keyspaces have one

            self.decode, self._encode = versioned(version, self.decode, self._encode)

    schema: Callable[[], dict[str, Any]]
    """The JSON Schema (2020-12) of the type."""

    decode: Callable[[bytes], T]
    """JSON to a value; raises SchemaMismatch, whose text names the member and never quotes the value."""

    def encode(self, value: T) -> bytes:
        """The JSON of a value.

        Raises:
            As `round_trip`.
        """
        return self.round_trip(value)[0]

    def round_trip(self, value: T) -> tuple[bytes, T]:
        """The JSON of a value, and the value that everybody will read from it: an equal one.

        What would be read differently is refused: stored, it would be a wrong value for everybody but its writer. Only
        plain JSON (dict, list, str, number) may be given where the type is a richer one, and loses nothing by it;
        not with pydantic, whose unions may have the plain type beside the richer one.

        Raises:
            SchemaMismatch: naming the member that cannot be written, read back, or comes back changed.
        """
        data: bytes = self._encode(value)
        back = self.decode(data)
        # The members' own comparison, in C, is enough where no class of the type has another; a NaN, or a time that is
        # equal in another zone only, takes the longer way.
        if self._compares and type(back) is type(value) and back == value:
            return data, back
        try:
            differing = difference(value, back, named=self._named)
        except RecursionError:
            differing = "the JSON is nested too deeply"
        if differing is not None:
            raise SchemaMismatch(differing)
        return data, back
