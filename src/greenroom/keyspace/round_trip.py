"""Whether a value that was written as JSON and read again is the value that was given.

Strict, because a cache that changes a value does so in silence, from the second read on: NaN that has become null, a
subclass that has become its base, a date in an `Any` that has become its text. Plain JSON for a richer declared type
(a dict for a struct, a list for a tuple, a text for a date) is what a loader that reads JSON or rows has; it passes
where nothing is lost by it, and where no plain type can stand beside the richer one: msgspec refuses a union of two
types with one form in JSON, pydantic does not.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec

Named = frozenset[type] | None

_PLAIN = (str, int, float, bool)
_JSON = (*_PLAIN, type(None), dict, list)
_FINER = re.compile(r"\.\d{6}0*[1-9]")


# docs/decisions/0035-loaded-values-are-compared.md
def difference(given: Any, back: Any, *, named: Named, where: str = "") -> str | None:
    """What is not the same, and at which member; None where all is. Never quotes a value.

    Arguments:
        named: the classes that the declared type names, where a union in it may have two with one form in JSON; by
            `date | str` the text "2026-01-01" is read as a date, and its loader meant a text. None where it has no
            such union: plain JSON may stand for a richer type.

    Raises:
        RecursionError: when it is nested too deeply.
    """
    if given is back:
        return None
    if named is not None and _is_another(type(given), type(back), named):
        return _described(given, back, where)
    names = _member_names(type(back))
    if names is not None:
        if type(given) is dict:
            return _of_dict(given, back, names, named, where)
        if not _same_class(type(given), type(back)) and not isinstance(back, tuple):
            return _described(given, back, where)
        if not isinstance(back, tuple):
            return _of_members(given, back, names, named, where)
    if isinstance(back, dict):
        return _of_mappings(given, back, named, where) if isinstance(given, dict) else _described(given, back, where)
    if isinstance(back, tuple) and isinstance(given, list | tuple):
        return _of_sequences(given, back, named, where)
    if type(back) is list and isinstance(given, list):
        return _of_sequences(given, back, named, where)
    if isinstance(back, set | frozenset) and isinstance(given, set | frozenset | list):
        twins = {one: one for one in back}
        same = len(given) == len(back) and all(
            one in twins and difference(one, twins[one], named=named) is None for one in given
        )
        return None if same else _described(given, back, where)
    if _equal(given, back):
        return None
    if type(given) in _PLAIN and type(back) not in _JSON and not _is_finer(given, back):
        return None
    return _described(given, back, where)


def _equal(given: Any, back: Any) -> bool:
    if isinstance(given, datetime) and isinstance(back, datetime) and given.tzinfo and back.tzinfo:
        # In an hour that a zone has twice, times of two zones are never equal to Python, whatever they are.
        return given.astimezone(UTC) == back.astimezone(UTC)
    if isinstance(given, Decimal) and isinstance(back, Decimal) and given.is_nan():
        return str(given) == str(back)
    if isinstance(given, float) and isinstance(back, float) and given != given:
        return back != back
    try:
        return bool(given == back)
    except Exception:  # a comparison of somebody else's class: what cannot be told equal is not
        return False


def _is_finer(given: Any, back: Any) -> bool:
    """Whether a text tells a time more exactly than Python's microseconds: it would be rounded."""
    return isinstance(given, str) and isinstance(back, datetime | time | timedelta) and bool(_FINER.search(given))


def _member_names(class_: type) -> Mapping[str, str] | None:
    """The members of an object by their names in JSON; None for what has none."""
    if issubclass(class_, msgspec.Struct):
        return dict(zip(class_.__struct_encode_fields__, class_.__struct_fields__, strict=True))
    fields: Iterable[str]
    if isinstance(differing := getattr(class_, "__pydantic_fields__", None), dict):
        fields = differing
    elif dataclasses.is_dataclass(class_):
        fields = (field.name for field in dataclasses.fields(class_))
    elif hasattr(class_, "__attrs_attrs__"):
        fields = (attribute.name for attribute in class_.__attrs_attrs__)
    else:
        return None
    return {name: name for name in fields}


def _of_dict(given: dict[Any, Any], back: Any, names: Mapping[str, str], named: Named, where: str) -> str | None:
    for key, value in given.items():
        if key not in names:
            name = key if isinstance(key, str) else type(key).__name__
            return f"`{_path(where, name)}` is not a member of {type(back).__name__}, and would be lost"
        differing = difference(value, getattr(back, names[key]), named=named, where=_path(where, key))
        if differing is not None:
            return differing
    return None


def _of_members(given: Any, back: Any, names: Mapping[str, str], named: Named, where: str) -> str | None:
    for name in names.values():
        mine, theirs = getattr(given, name, None), getattr(back, name, None)
        differing = difference(mine, theirs, named=named, where=_path(where, name))
        if differing is not None:
            return differing
    # What a pydantic model holds besides its fields.
    for more in ("__pydantic_extra__", "__pydantic_private__"):
        mine, theirs = getattr(given, more, None) or {}, getattr(back, more, None) or {}
        if (differing := _of_mappings(mine, theirs, named, where, members=True)) is not None:
            return differing
    return None


def _of_mappings(
    given: Mapping[Any, Any], back: Mapping[Any, Any], named: Named, where: str, *, members: bool = False
) -> str | None:
    twins = {key: key for key in back}
    for key, value in given.items():
        path = _path(where, key) if members else f"{where}[...]"
        if key not in twins or difference(key, twins[key], named=named) is not None:
            return f"a {type(key).__name__} as key of a dictionary comes back changed{_at(path)}"
        differing = difference(value, back[key], named=named, where=path)
        if differing is not None:
            return differing
    return None if len(given) == len(back) else f"a dictionary comes back with {len(back)} members{_at(where)}"


def _of_sequences(given: Any, back: Any, named: Named, where: str) -> str | None:
    if len(given) != len(back):
        return _described(given, back, where)
    for place, (one, other) in enumerate(zip(given, back, strict=True)):
        if one is not other:
            differing = difference(one, other, named=named, where=f"{where}[{place}]")
            if differing is not None:
                return differing
    return None


def _is_another(given: type, back: type, named: frozenset[type]) -> bool:
    """Whether the class is another one: no base, as of a subclass of UUID that a driver has, and no whole float."""
    given, back = _plain_class(given), _plain_class(back)
    if given is back or (given is int and back is float):
        return False
    # An IntEnum or a bool equals its number, and is none; an OrderedDict is no dict where the type tells them apart.
    return not issubclass(given, back) or issubclass(given, Enum) or given is bool or given in named


def _same_class(given: type, back: type) -> bool:
    return _plain_class(given) is _plain_class(back)


def _plain_class(class_: Any) -> type:
    """`Box` for pydantic's `Box[int]`, as pydantic itself compares them."""
    generic = getattr(class_, "__pydantic_generic_metadata__", None) or {}
    return generic.get("origin") or class_  # type: ignore[no-any-return]


def _described(given: Any, back: Any, where: str) -> str:
    one, other = type(given).__name__, type(back).__name__
    change = f"comes back as {other}" if one != other else "comes back changed"
    return f"a value of type {one} {change}{_at(where)}"


def _path(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _at(where: str) -> str:
    return f" - at `{where}`" if where else ""
