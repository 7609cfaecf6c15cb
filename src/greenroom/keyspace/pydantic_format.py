"""What pydantic knows, as JSON: its models and dataclasses, and whatever has one of them in it.

Members are written under their own names and all of them: left out, a None would come back as its default; under an
alias, one of two that a model may have, it would not come back at all. Computed members are not written.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable
from typing import Any

import pydantic
from pydantic import ConfigDict, PlainSerializer, TypeAdapter, ValidationError, WrapSerializer
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic_core import PydanticSerializationError

from greenroom.errors import InvalidInput
from greenroom.keyspace.mismatch import SchemaMismatch
from greenroom.keyspace.type_parts import TypePart, parts

_MIN_VERSION = (2, 11)
"""The first pydantic that reads members by their names where they have aliases."""
_ONLY_INSTANCES = {"is-instance", "is-subclass", "callable", "generator"}
_UNEXPECTED = re.compile(r"SerializationUnexpectedValue\((.*?)(?: \[(?:field_name='([^']*)')?|\)?$)", re.MULTILINE)

Functions = tuple[Callable[[bytes], Any], Callable[[Any], bytes], Callable[[], dict[str, Any]]]


def functions(type_: Any) -> Functions:
    """Decoder, encoder and schema of a type.

    Raises:
        InvalidInput: when a part of the type has no JSON that can be read again.
    """
    if tuple(int(number) for number in pydantic.VERSION.split(".")[:2]) < _MIN_VERSION:
        minimum = ".".join(map(str, _MIN_VERSION))
        raise InvalidInput("type", f"pydantic {pydantic.VERSION} is too old", f"install pydantic {minimum} or later")
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(type_)
        if not adapter.pydantic_complete:
            adapter.rebuild()
    except (PydanticUserError, PydanticUndefinedAnnotation, TypeError, NameError) as error:
        raise InvalidInput("type", _first_line(error), "use types that pydantic can write as JSON") from None
    for part in parts(type_):
        _check(part)

    def decode(data: bytes) -> Any:
        try:
            return adapter.validate_json(data, by_alias=False, by_name=True)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "$"
            raise SchemaMismatch(f"{first['msg']} - at `{where}`") from None
        except Exception as error:  # of somebody's validator: no JSON of ours
            raise SchemaMismatch(f"it cannot be read: {type(error).__name__}") from None

    def encode(value: Any) -> bytes:
        try:
            # docs/decisions/0034-pydantic-members-by-name.md
            return adapter.dump_json(value, by_alias=False, round_trip=True, warnings="error")
        except PydanticSerializationError as error:
            raise SchemaMismatch(f"cannot be written as JSON: {_unwritten(error)}") from None
        except Exception as error:  # of somebody's serializer
            raise SchemaMismatch(f"cannot be written as JSON: {type(error).__name__}") from None

    def schema() -> dict[str, Any]:
        from greenroom.keyspace.pydantic_schema import CompleteSchema  # for documents alone

        return adapter.json_schema(by_alias=False, schema_generator=CompleteSchema)

    return decode, encode, schema


def _check(part: TypePart) -> None:
    """Refuse a member whose values are not written, or are written as something else."""
    at = f" - at `{part.where}`" if part.where else ""
    field = getattr(part.owner, "__pydantic_fields__", {}).get(part.member)
    if field is not None and field.exclude:
        raise InvalidInput(
            "type",
            f"pydantic leaves the member out (exclude=True){at}",
            "store a model without this member, or without exclude=True",
        )
    if typing.get_origin(part.type) is typing.Annotated or not _is_leaf(part.type):
        return
    if hasattr(part.type, "get_secret_value") and not _has_own(part, field, serializers_only=True):
        raise InvalidInput(
            "type",
            f"pydantic writes a {part.type.__name__} as asterisks{at}",
            "store a model without this member, or give it a serializer that reveals it",
        )
    if not _has_own(part, field, serializers_only=False) and _only_instances(part.type):
        name = getattr(part.type, "__name__", str(part.type))
        raise InvalidInput("type", f"pydantic cannot read a {name} from JSON{at}", "store a model without this member")


def _is_leaf(type_: Any) -> bool:
    return isinstance(type_, type) or typing.get_origin(type_) is not None


def _only_instances(type_: Any) -> bool:
    """Whether pydantic takes nothing but Python objects for it."""
    try:
        schema = TypeAdapter(type_, config=ConfigDict(arbitrary_types_allowed=True)).core_schema
    except PydanticUserError:  # a model has its own configuration, and was built with it
        return False
    return schema["type"] in _ONLY_INSTANCES


def _has_own(part: TypePart, field: Any, *, serializers_only: bool) -> bool:
    """Whether somebody has said how to write the member (or to read it): the first value will tell how well."""
    decorators = getattr(part.owner, "__pydantic_decorators__", None)
    if decorators is None:
        return False
    kinds = ["field_serializers"] if serializers_only else ["field_serializers", "field_validators"]
    own = any({part.member, "*"} & set(one.info.fields) for kind in kinds for one in getattr(decorators, kind).values())
    whole = decorators.model_serializers or (not serializers_only and decorators.model_validators)
    serializers = [
        one for one in (field.metadata if field is not None else ()) if type(one).__module__.startswith("pydantic")
    ]
    if serializers_only:
        serializers = [one for one in serializers if isinstance(one, PlainSerializer | WrapSerializer)]
    return bool(own or whole or serializers)


def _unwritten(error: PydanticSerializationError) -> str:
    """Pydantic's words and the member, without the value that it quotes."""
    text = str(error)
    match = _UNEXPECTED.search(text)
    if match is not None:
        return f"{match[1]} - at `{match[2]}`" if match[2] else match[1]
    # What a serializer of somebody's own says may quote the value; its type does not.
    return re.sub(r"^(Error calling function `[^`]*`: \w+).*$", r"\1", text.partition("\n")[0])


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
