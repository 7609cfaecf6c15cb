"""What msgspec knows, as JSON: structs, dataclasses, typed dictionaries, named tuples, containers, atoms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import inspect

from greenroom.errors import InvalidInput
from greenroom.keyspace.mismatch import SchemaMismatch

_REMEDY = "use types that msgspec or pydantic can write as JSON and read again"
_UNHASHABLE = (inspect.ListType, inspect.DictType, inspect.SetType, inspect.ByteArrayType, inspect.TypedDictType)
_KEYS = (
    inspect.AnyType, inspect.StrType, inspect.IntType, inspect.FloatType, inspect.BytesType, inspect.EnumType,
    inspect.LiteralType, inspect.DateTimeType, inspect.DateType, inspect.TimeType, inspect.TimeDeltaType,
    inspect.UUIDType, inspect.DecimalType, inspect.UnionType,
)  # fmt: skip

Functions = tuple[Callable[[bytes], Any], Callable[[Any], bytes], Callable[[], dict[str, Any]], bool]


def functions(type_: Any) -> Functions:
    """Decoder, encoder and schema of a type, and whether `==` tells all about two of its values.

    Raises:
        InvalidInput: when a part of the type has no JSON that can be read again.
    """
    try:
        decoder = msgspec.json.Decoder(type_)
        whole = inspect.type_info(type_)
    except (TypeError, NameError) as error:
        raise InvalidInput("type", str(error), _REMEDY) from None
    encoder = msgspec.json.Encoder()
    compares = True
    for node, where in _nodes(whole, "", set()):
        _check(node, where)
        compares = compares and _compares(node)

    def decode(data: bytes) -> Any:
        try:
            return decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SchemaMismatch(str(error)) from None
        except RecursionError:
            raise SchemaMismatch("the JSON is nested too deeply") from None
        except Exception as error:  # of a `__post_init__`, or of what is not hashable in a set: no JSON of ours
            raise SchemaMismatch(f"it cannot be read: {type(error).__name__}") from None

    def encode(value: Any) -> bytes:
        try:
            return encoder.encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise SchemaMismatch(str(error)) from None

    def schema() -> dict[str, Any]:
        from greenroom.keyspace.msgspec_schema import schema_of  # for documents alone

        return schema_of(type_)

    return decode, encode, schema, compares


def _nodes(node: inspect.Type, where: str, seen: set[int]) -> Iterator[tuple[inspect.Type, str]]:
    """Every part of a type with the member that holds it; a class that holds itself once."""
    if isinstance(node, inspect.Metadata):
        node = node.type
    yield node, where
    if id(node) in seen:
        return
    seen.add(id(node))
    for field in getattr(node, "fields", ()):
        yield from _nodes(field.type, f"{node.cls.__name__}.{field.name}", seen)  # type: ignore[attr-defined]
    for name in ("item_type", "key_type", "value_type"):
        if (inner := getattr(node, name, None)) is not None:
            yield from _nodes(inner, where, seen)
    for name in ("item_types", "types"):
        for inner in getattr(node, name, ()):
            yield from _nodes(inner, where, seen)


def _check(node: inspect.Type, where: str) -> None:
    at = f" - at `{where}`" if where else ""
    if isinstance(node, inspect.CustomType) and node.cls is not object:
        raise InvalidInput("type", f"a value of type {node.cls.__name__} cannot be stored{at}", _REMEDY)
    if isinstance(node, inspect.DictType) and not isinstance(_bare(node.key_type), _KEYS):
        raise InvalidInput("type", f"JSON has no keys of that type{at}", "use text or numbers as keys")
    if isinstance(node, inspect.SetType | inspect.FrozenSetType) and isinstance(_bare(node.item_type), _UNHASHABLE):
        raise InvalidInput("type", f"a set cannot hold what can change{at}", "use tuples in sets, or a list of lists")


def _compares(node: inspect.Type) -> bool:
    if isinstance(node, inspect.StructType):
        return node.cls.__eq__ is msgspec.Struct.__eq__ and node.cls.__struct_config__.eq
    # Those may have a comparison of their own, and often leave members out of it.
    return not isinstance(node, inspect.DataclassType | inspect.CustomType)


def _bare(node: inspect.Type) -> inspect.Type:
    return node.type if isinstance(node, inspect.Metadata) else node
