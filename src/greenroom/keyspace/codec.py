"""Values to JSON and back, typed: msgspec structs, dataclasses, plain containers, and pydantic models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, get_args

import msgspec

T = TypeVar("T")


class SchemaMismatch(ValueError):
    """JSON that does not fit the type, or a value that would not fit it when read back."""


class Codec(Generic[T]):
    """Encodes and decodes one type.

    Arguments:
        type_: any type that msgspec knows (frozen structs are best), or one with pydantic models in it.
    """

    __slots__ = ("_encode", "decode", "schema", "type")

    def __init__(self, type_: type[T]) -> None:
        self.type = type_
        build = _pydantic if any(_is_pydantic(part) for part in _walk(type_)) else _msgspec
        self.decode, self._encode, self.schema = build(type_)

    schema: Callable[[], dict[str, Any]]
    """The JSON Schema (2020-12) of the type."""

    decode: Callable[[bytes], T]
    """JSON to a value; raises SchemaMismatch, whose text names the member and never quotes the value."""

    def encode(self, value: T) -> bytes:
        """The JSON of a value that is known to fit the type: it is decoded once before it is let out.

        A loader may return a naive datetime or a wrong member; stored, it would be a broken value for everybody.

        Raises:
            SchemaMismatch: when nobody could read it back.
        """
        data: bytes = self._encode(value)
        self.decode(data)
        return data


def _msgspec(
    type_: Any,
) -> tuple[Callable[[bytes], Any], Callable[[Any], bytes], Callable[[], dict[str, Any]]]:
    decoder = msgspec.json.Decoder(type_)
    encoder = msgspec.json.Encoder()

    def decode(data: bytes) -> Any:
        try:
            return decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SchemaMismatch(str(error)) from None
        except RecursionError:
            raise SchemaMismatch("it is nested too deeply to be read") from None

    def encode(value: Any) -> bytes:
        try:
            return encoder.encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise SchemaMismatch(str(error)) from None

    return decode, encode, lambda: msgspec.json.schema(type_)


def _pydantic(
    type_: Any,
) -> tuple[Callable[[bytes], Any], Callable[[Any], bytes], Callable[[], dict[str, Any]]]:
    from pydantic import TypeAdapter, ValidationError
    from pydantic_core import PydanticSerializationError

    adapter: TypeAdapter[Any] = TypeAdapter(type_)

    def decode(data: bytes) -> Any:
        try:
            return adapter.validate_json(data)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "$"
            raise SchemaMismatch(f"{first['msg']} - at `{where}`") from None

    def encode(value: Any) -> bytes:
        try:
            return adapter.dump_json(value, exclude_none=True, warnings="error")
        except (PydanticSerializationError, ValueError, TypeError) as error:
            raise SchemaMismatch(f"cannot be written as JSON: {type(error).__name__}") from None

    return decode, encode, adapter.json_schema


def _walk(type_: Any) -> Iterator[Any]:
    yield type_
    for argument in get_args(type_):
        yield from _walk(argument)


def _is_pydantic(type_: Any) -> bool:
    return hasattr(type_, "__pydantic_validator__")
