"""A declared type taken apart: every type in it, with the member that holds it."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec


class TypePart(NamedTuple):
    """One type inside a declared one.

    Arguments:
        type: the type, as it is written.
        where: the member that holds it, as `Guest.name`; empty for the declared type itself and its arguments.
        owner: the class of that member; None where there is none.
        member: the member's own name.
    """

    type: Any
    where: str
    owner: type | None
    member: str

    @property
    def pydantic(self) -> bool:
        """Whether only pydantic knows what may stand here."""
        if typing.get_origin(self.type) is typing.Annotated:
            return any(type(one).__module__.split(".")[0] == "pydantic" for one in typing.get_args(self.type)[1:])
        return isinstance(self.type, type) and (
            hasattr(self.type, "__pydantic_validator__") or hasattr(self.type, "__get_pydantic_core_schema__")
        )


def parts(type_: Any) -> Iterator[TypePart]:
    """The type itself and all types in it, each class once."""
    yield from _parts(TypePart(type_, "", None, ""), set())


def classes(type_: Any) -> frozenset[type]:
    """The classes that a declared type names, without their arguments."""
    bare = (typing.get_origin(part.type) or part.type for part in parts(type_))
    return frozenset(class_ for class_ in bare if isinstance(class_, type))


def members(class_: type) -> Mapping[str, Any]:
    """The annotations of the members of a struct, dataclass, typed dictionary, named tuple or model; else none."""
    fields = getattr(class_, "__pydantic_fields__", None)
    if isinstance(fields, dict):
        return {name: field.annotation for name, field in fields.items()}
    if (
        issubclass(class_, msgspec.Struct)
        or dataclasses.is_dataclass(class_)
        or (issubclass(class_, dict) and hasattr(class_, "__required_keys__"))
        or hasattr(class_, "__attrs_attrs__")
        or (issubclass(class_, tuple) and hasattr(class_, "_fields"))
    ):
        try:
            return typing.get_type_hints(class_, include_extras=True)
        except (NameError, TypeError):
            return {}  # a name that is defined nowhere: the codec says so in its own words
    return {}


def _parts(part: TypePart, seen: set[Any]) -> Iterator[TypePart]:
    yield part
    type_ = part.type
    if isinstance(type_, typing.NewType):
        yield from _parts(part._replace(type=type_.__supertype__), seen)
        return
    if hasattr(type_, "__value__") and not isinstance(type_, type):  # `type Name = ...` of Python 3.12
        if id(type_) not in seen:
            seen.add(id(type_))
            yield from _parts(part._replace(type=type_.__value__), seen)
        return
    origin = typing.get_origin(type_)
    if origin is typing.Literal:
        return
    arguments = typing.get_args(type_)
    if origin is typing.Annotated:
        arguments = arguments[:1]
    for argument in arguments:
        yield from _parts(part._replace(type=argument), seen)
    class_ = origin if isinstance(origin, type) else type_
    if not isinstance(class_, type) or class_ in seen:
        return
    seen.add(class_)
    for name, hint in members(class_).items():
        if typing.get_origin(hint) is not typing.ClassVar:
            yield from _parts(TypePart(hint, f"{class_.__name__}.{name}", class_, name), seen)
