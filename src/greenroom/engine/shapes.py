"""What the reply to a command looks like, checked in reply order before any later reply is handed out.

A reply that does not fit tells that replies and commands are out of step, as after a frame that nobody asked for:

    a frame too many · the next reader is given it · every later one is given the reply before its own: another user's

The shape is what *some* server with *some* data can answer, never more: what a foreign program has written must not end
a connection that others use.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from greenroom.engine.commands import Command

_NONE = type(None)


Types = Container[type]
Fits = Callable[[Any, "Command"], bool]


# docs/decisions/0011-replies-are-checked-by-shape.md
class Shape(NamedTuple):
    """What replies fit; an error always does.

    Arguments:
        types: of the reply.
        fits: looks closer at a reply of these types, given the command.
    """

    types: Types
    fits: Fits | None = None


class _AllTypes:
    def __contains__(self, one: object) -> bool:
        return not (isinstance(one, type) and issubclass(one, Exception))


def _exactly(expected: bytes) -> Shape:
    return Shape(frozenset({bytes}), lambda reply, _: reply == expected)


def _each(*types: type) -> Callable[[Iterable[Any]], bool]:
    allowed = frozenset(types)
    return lambda items: allowed.issuperset(map(type, items))


are_texts, are_texts_or_none, _numbers_or_none = _each(bytes), _each(bytes, _NONE), _each(float, int, _NONE)


def _time(reply: list[Any], _: Command) -> bool:
    return len(reply) == 2 and are_texts(reply) and all(part.isdigit() and len(part) < 18 for part in reply)


def _of_cluster(reply: Any, command: Command) -> bool:
    return type(reply) is (bytes if command[1] == "INFO" else list)


ANYTHING = Shape(_AllTypes())
NUMBER = Shape(frozenset({int}))
TEXT = Shape(frozenset({bytes}))
TEXT_OR_NONE = Shape(frozenset({bytes, _NONE}))
SCORED = Shape(frozenset({list}), lambda reply, _: len(reply) % 2 == 0 and are_texts(reply))
"""Texts and their scores, in turn and as texts: what a script answers of a sorted set."""
_OK = _exactly(b"OK")

SHAPES: dict[str | bytes | int, Shape] = {
    "ASKING": _OK,
    "CLIENT": _OK,
    "CLUSTER": Shape(frozenset({bytes, list}), _of_cluster),
    "DEL": NUMBER,
    "GET": TEXT_OR_NONE,
    "HELLO": Shape(frozenset({dict}), lambda reply, _: reply.get(b"proto") == 3),
    "INFO": TEXT,
    "MGET": Shape(
        frozenset({list}), lambda reply, command: len(reply) == len(command) - 1 and are_texts_or_none(reply)
    ),
    "PEXPIRE": NUMBER,
    "PING": _exactly(b"PONG"),
    "PTTL": NUMBER,
    "READONLY": _OK,
    "SCRIPT": TEXT,
    "SELECT": _OK,
    "SENTINEL": Shape(frozenset({dict})),
    "SET": Shape(frozenset({bytes, _NONE}), lambda reply, _: reply is None or reply == b"OK"),
    "TIME": Shape(frozenset({list}), _time),
    "ZMSCORE": Shape(
        frozenset({list}), lambda reply, command: len(reply) == len(command) - 2 and _numbers_or_none(reply)
    ),
    "ZRANGE": Shape(frozenset({list}), lambda reply, _: are_texts(reply)),
    "ZREM": NUMBER,
}
"""By the command's name: every command that we send. A script's shape stands with the script."""


def is_push(push: list[Any]) -> bool:
    """Whether a push is one that we have asked for: changed keys, or None for all."""
    if len(push) != 2 or push[0] != b"invalidate":
        return False
    return push[1] is None or (type(push[1]) is list and are_texts(push[1]))
