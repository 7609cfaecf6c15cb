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
    return _frozen(type_, frozenset())


def _frozen(type_: Any, seen: frozenset[Any]) -> bool:
    if type_ in _ATOMS or type_ is Ellipsis:
        return True
    origin = typing.get_origin(type_)
    if origin is typing.Literal:
        return True
    if origin is typing.Annotated:
        return _frozen(typing.get_args(type_)[0], seen)
    if origin in (typing.Union, types.UnionType) or origin in _CONTAINERS:
        return all(_frozen(one, seen) for one in typing.get_args(type_))
    if not isinstance(type_, type):
        return False
    if issubclass(type_, enum.Enum):
        return True
    if not _declared_frozen(type_):
        return False
    if type_ in seen:
        return True
    try:
        hints = typing.get_type_hints(type_, include_extras=True)
    except NameError:
        return False
    return all(_frozen(one, seen | {type_}) for name, one in hints.items() if not _of_the_class(name, one))


def _declared_frozen(type_: type) -> bool:
    if issubclass(type_, msgspec.Struct):
        return bool(type_.__struct_config__.frozen)
    if dataclasses.is_dataclass(type_):
        return bool(type_.__dataclass_params__.frozen)  # type: ignore[attr-defined]
    return bool(getattr(type_, "model_config", {}).get("frozen"))


def _of_the_class(name: str, hint: Any) -> bool:
    return typing.get_origin(hint) is typing.ClassVar or name.startswith(("__", "model_"))
