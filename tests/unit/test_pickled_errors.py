"""Errors cross the border of a process: pools and task queues pickle them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages

import pytest

import greenroom
from greenroom.errors import GreenroomError, InvalidInput, MissingExtra, RoomElsewhere, WrongParts


def every_error(kind: type[GreenroomError] = GreenroomError) -> Iterator[type[GreenroomError]]:
    """All kinds of errors in the modules that are at hand."""
    yield kind
    for one in kind.__subclasses__():
        yield from every_error(one)


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("ttl", "is 0", "give more"),
        WrongParts("a:{b}", ["b"], "nothing"),
        MissingExtra("cli", "the command"),
        RoomElsewhere("it forked", "open it again"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_the_same_in_another_process(error: GreenroomError) -> None:
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(other), str(other), other.args, vars(other)) == (type(error), str(error), error.args, vars(error))


def test_every_kind_of_error_can_be_sent() -> None:
    for module in walk_packages(greenroom.__path__, "greenroom."):
        if module.name.startswith(
            ("greenroom.engine", "greenroom.caching", "greenroom.sessions", "greenroom.keyspace")
        ):
            import_module(module.name)
    kinds = list(every_error())
    assert len(kinds) > 20
    for kind in kinds:
        error = kind.__new__(kind, "what is wrong")
        other = pickle.loads(pickle.dumps(error))
        assert (type(other), str(other)) == (kind, str(error))
