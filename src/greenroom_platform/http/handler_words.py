"""What the code of a route mentions: the strings in its handler, and in the functions of this package that it calls.

The description of the API is made of them: a header that nothing mentions is neither taken nor sent.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_PACKAGE = __name__.rpartition(".")[0]
_STATED = "__mentioned__"


class Words(NamedTuple):
    """What is mentioned, in lower case.

    Arguments:
        all: every string.
        problems: those that stand beside a `Problem`: slugs among them are raised.
    """

    all: frozenset[str]
    problems: frozenset[str]


def mentions(*words: str) -> Callable[[F], F]:
    """State what a function mentions, where its code has words that not all of its callers mean."""

    def stated(function: F) -> F:
        setattr(function, _STATED, frozenset(word.lower() for word in words))
        return function

    return stated


# docs/decisions/0109-the-description-is-read-from-the-handlers.md
def words_of(handlers: Iterable[Callable[..., Any]]) -> Words:
    """What handlers and guards mention, with all that they call by name in this package.

    A method of an object is not followed: a name does not tell which class it is of.
    """
    words, of_problems = set[str](), set[str]()
    waiting: list[Any] = list(handlers)
    seen = set[int]()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, type):
            waiting.extend(_methods(found))
        elif isinstance(inspect.unwrap(found), FunctionType):
            own, called = _mentioned(found)
            words |= own.all
            of_problems |= own.problems
            waiting.extend(called)
    return Words(frozenset(words), frozenset(of_problems))


@cache
def _mentioned(found: Callable[..., Any]) -> tuple[Words, tuple[Any, ...]]:
    """What one function mentions, and what it calls of this package."""
    stated: frozenset[str] | None = getattr(found, _STATED, None)
    if stated is not None:
        return Words(stated, stated), ()
    function: Any = inspect.unwrap(found)
    names = frozenset(_names(function.__code__))
    called = tuple(_called(names, function.__globals__))
    own = frozenset(_strings([*_constants(function.__code__), *called]))
    followed = tuple(one for one in called if callable(one) and _is_ours(one))
    return Words(own, own if "Problem" in names else frozenset()), followed


def _called(names: Iterable[str], variables: Mapping[str, Any]) -> Iterator[Any]:
    """What names stand for in a module, and in the modules of this package that are named as well."""
    for name in names:
        if name not in variables:
            continue
        value = variables[name]
        if not isinstance(value, ModuleType):
            yield value
        elif value.__name__.startswith(_PACKAGE):
            yield from (vars(value)[other] for other in names if other in vars(value))


def _is_ours(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).startswith(_PACKAGE)


def _methods(class_: type) -> Iterator[Any]:
    for member in vars(class_).values():
        yield getattr(member, "fget", None) or getattr(member, "__func__", member)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _names(code: CodeType) -> Iterator[str]:
    for one in _codes(code):
        yield from one.co_names


def _constants(code: CodeType) -> Iterator[Any]:
    for one in _codes(code):
        yield from one.co_consts


def _strings(values: Iterable[Any]) -> Iterator[str]:
    """The strings among values and in their sequences; not in dictionaries, which are tables of much else."""
    for value in values:
        if isinstance(value, str):
            yield value.lower()
        elif isinstance(value, bytes):
            yield value.decode("latin-1").lower()
        elif isinstance(value, tuple | list | frozenset):
            yield from _strings(value)
