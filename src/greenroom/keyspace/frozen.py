"""Whether a type is immutable all the way down, so that one decoded value may be given to many callers."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import types
import typing
import uuid
from typing import Any

import msgspec

_ATOMS = frozenset(
    {
        str, bytes, int, float, complex, bool, type(None), msgspec.UnsetType,
        datetime.datetime, datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID,
    }
)  # fmt: skip
_CONTAINERS = frozenset({tuple, frozenset})


def is_frozen(type_: Any) -> bool:
    """True for atoms, enums, frozen structs, dataclasses and pydantic models, and tuples and frozen sets of these."""
    try:
        return _frozen(type_, frozenset(), ())
    except (NameError, TypeError):
        return False  # a name that is defined nowhere, metadata without a hash: not understood


def _frozen(type_: Any, seen: frozenset[Any], known: tuple[Any, ...]) -> bool:
    """`known` are the type variables in whose places frozen types stand."""
    if type_ in _ATOMS or type_ is Ellipsis or type_ in known:
        return True
    if isinstance(type_, typing.NewType):
        return _frozen(type_.__supertype__, seen, known)
    origin = typing.get_origin(type_)
    if origin is typing.Literal:
        return True
    if origin is typing.Annotated:
        return _frozen(typing.get_args(type_)[0], seen, known)
    if origin in (typing.Union, types.UnionType) or origin in _CONTAINERS:
        return all(_frozen(one, seen, known) for one in typing.get_args(type_))
    if isinstance(origin, type):  # of a generic: Box[int]
        if not all(_frozen(one, seen, known) for one in typing.get_args(type_)):
            return False
        class_, variables = origin, origin.__dict__.get("__parameters__", ())
    elif isinstance(type_, type):
        class_, variables = type_, ()
    else:
        return False
    if issubclass(class_, enum.Enum):
        return True
    if not _declared_frozen(class_):
        return False
    if type_ in seen:
        return True
    seen |= {type_}
    hints = typing.get_type_hints(class_, include_extras=True)
    return all(_frozen(one, seen, variables) for name, one in hints.items() if not _of_the_class(name, one))


def _declared_frozen(type_: type) -> bool:
    if issubclass(type_, msgspec.Struct):
        return bool(type_.__struct_config__.frozen)
    if dataclasses.is_dataclass(type_):
        return bool(type_.__dataclass_params__.frozen)  # type: ignore[attr-defined]
    if getattr(type_, "__private_attributes__", None):
        return False  # a frozen model's private attributes are not frozen
    model = getattr(type_, "model_config", {})
    return bool(model.get("frozen")) and model.get("extra") != "allow"  # what is extra may be lists


def _of_the_class(name: str, hint: Any) -> bool:
    return typing.get_origin(hint) is typing.ClassVar or name.startswith("__")
