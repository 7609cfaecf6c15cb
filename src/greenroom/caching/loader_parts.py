"""The parts of a key as a loader's annotations have them, compared with what the keyspace says that they are."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from greenroom.errors import InvalidInput
from greenroom.keyspace import Keyspace
from greenroom.keyspace.parts import WORD, Day, Number, Part, Uuid

_KNOWN = {one.__name__: one for one in (str, int, float, bool, bytes, UUID, date, datetime, time, timedelta)}
"""Types that are compared; any other annotation, as a union or a type of the program's own, may well be right."""
_KINDS = {int: "int", UUID: "UUID", date: "date"}
"""What a part may be declared as, besides text."""


def check_annotations(keyspace: Keyspace[Any], load: Any) -> None:
    """Refuse a loader with a parameter of another type than its part has.

    Prevents: a part is text unless it is declared · the loader takes it as an `int` and compares it with numbers · it
    finds nothing, and that there is nothing is remembered.

    Arguments:
        load: called with the parts by keyword, or by position where there is one.

    Raises:
        InvalidInput: naming the parameter, and how to declare the part.
    """
    try:
        parameters = inspect.signature(load).parameters
    except (TypeError, ValueError):
        return  # some of C have none
    parts = keyspace.pattern.parts
    for name, part in parts.items():
        parameter = _of_part(parameters, name, alone=len(parts) == 1)
        kind = None if parameter is None else _known(parameter.annotation)
        if parameter is None or kind is None or kind in _given(part):
            continue
        given = _given(part)[0].__name__
        told = "is not declared, and so is text to it" if part is WORD else f"is {given} to it"
        remedy = f"annotate it as {given}"
        if kind in _KINDS:
            remedy += f", or declare the part: parts={{{name!r}: {_KINDS[kind]}}}"
        raise InvalidInput(
            "load", f"takes {parameter.name} as {kind.__name__}, and {name} of {keyspace} {told}", remedy
        )


def _of_part(parameters: Mapping[str, inspect.Parameter], name: str, *, alone: bool) -> inspect.Parameter | None:
    """The parameter that is given a part."""
    if not alone:
        return parameters.get(name)
    first = next(iter(parameters.values()), None)
    return first if first is not None and first.kind is not first.KEYWORD_ONLY else None


def _known(annotation: object) -> type | None:
    """A type that is compared, whether the annotation is the type itself or its text."""
    if isinstance(annotation, str):
        return _KNOWN.get(annotation.rpartition(".")[2])
    return next((kind for kind in _KNOWN.values() if annotation is kind), None)


def _given(part: Part) -> tuple[type, ...]:
    """The types as which a loader may take a part, its own first."""
    if isinstance(part, Number):
        return int, float
    if isinstance(part, Uuid):
        return (UUID,)
    return (date,) if isinstance(part, Day) else (str,)
