"""Arguments of another type are refused by their names, before anything is asked.

Deeper down each would be another error: of the codec, of the server, or a stored session that seems broken. An error
says of which type the argument is, and never its value, which may be a token or a password.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeVar, get_args

from greenroom.errors import InvalidInput

T = TypeVar("T")

_SHOWN_BITS = 64
"""The size of a number above which an error does not repeat it."""


def instance(name: str, value: T, type_: Any, remedy: str) -> T:
    """The argument, if it is of its type.

    Arguments:
        type_: a class, or a union of classes.
    """
    if not isinstance(value, type_):
        expected = " or ".join(one.__name__ for one in get_args(type_) or (type_,) if one is not type(None))
        raise InvalidInput(name, f"is {type_name(value)}, not a {expected}", remedy)
    return value


def function(name: str, value: T, remedy: str) -> T:
    """The argument, if it can be called."""
    if not callable(value):
        raise InvalidInput(name, f"is {type_name(value)}, which cannot be called", remedy)
    return value


def text(name: str, value: object, remedy: str) -> str:
    """The argument, if it is a string."""
    if not isinstance(value, str):
        raise InvalidInput(name, f"is {type_name(value)}, not a string", remedy)
    return value


def whole_number(name: str, value: object, minimum: int, remedy: str, *, maximum: int | None = None) -> int:
    """The argument, if it is a whole number from `minimum` to `maximum`; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInput(name, f"is {type_name(value)}, not a whole number", remedy)
    shown = f"is {value}, " if value.bit_length() <= _SHOWN_BITS else "is "  # above 4,300 digits Python shows none
    if value < minimum:
        raise InvalidInput(name, f"{shown}below {minimum}", remedy)
    if maximum is not None and value > maximum:
        raise InvalidInput(name, f"{shown}above {maximum}", remedy)
    return value


def span(name: str, value: object, minimum: timedelta, remedy: str) -> timedelta:
    """The argument, if it is a timedelta of at least `minimum`."""
    if not isinstance(value, timedelta):
        example = f"seconds={value:g}" if isinstance(value, int | float) else "minutes=5"
        raise InvalidInput(name, f"is {type_name(value)}, not a timedelta", f"{remedy}, as timedelta({example})")
    if value < minimum:
        raise InvalidInput(name, f"{value} is too short", remedy)
    return value


def type_name(value: object) -> str:
    """The name of a value's type, fit for an error or a log line."""
    return ascii(type(value).__name__)[1:-1]
