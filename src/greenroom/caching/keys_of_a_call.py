"""The keys of one call for several: tuples, mappings, and bare values where a key has one part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from greenroom.caching.ladder import Asked
from greenroom.errors import InvalidInput
from greenroom.keyspace import Keyspace

_NO_NAMED: Mapping[str, object] = MappingProxyType({})


def asked_together(keyspace: Keyspace[Any], parts: Iterable[object]) -> list[Asked]:
    """The parts of several keys, each as the parts of one call.

    Raises:
        InvalidInput: for what is no list of keys; the keys themselves are checked where they are built.
    """
    names = keyspace.pattern.names
    usage = _usage(names)
    if isinstance(parts, str | bytes | Mapping) or not isinstance(parts, Iterable):
        raise InvalidInput("parts", f"{parts!r:.80} is not a list of keys", usage)
    if len(names) == 1:
        return [((one,), _NO_NAMED) if type(one) is str else asked(keyspace, one) for one in parts]
    return [asked(keyspace, one) for one in parts]


def asked(keyspace: Keyspace[Any], one: object) -> Asked:
    """The parts of one key of several.

    Raises:
        InvalidInput: for what are no parts of a key.
    """
    names = keyspace.pattern.names
    if isinstance(one, Mapping):
        return (), one
    if isinstance(one, tuple) and len(one) == len(names):
        return (), dict(zip(names, one, strict=True))
    if len(names) == 1 and not isinstance(one, tuple):
        return (one,), {}
    raise InvalidInput("parts", f"{one!r:.80} are not the parts of a key", _usage(names))


def _usage(names: Sequence[str]) -> str:
    """How the keys of one call are given."""
    if not names:
        return "give a list of (), or ask `get()` for the one value that there is"
    if len(names) == 1:
        return f"give a list of values of {names[0]}"
    return f"give a list of tuples ({', '.join(names)}), or of dicts"
