"""How values of Django's cache are stored: as the JSON that they are, or pickled where a project has allowed that.

`None` is a value to Django, and nothing to a store; a pickle is no JSON. Both stand in an object with one member whose
name is reserved: nobody's own value can be taken for one. Caches that pickle have keys of their own. Prevents: a
visitor has a value of this form cached as JSON · the project allows pickles · the visitor's text is unpickled.
"""

from __future__ import annotations

import pickle
from base64 import b64decode, b64encode
from typing import Any

from greenroom.errors import InvalidInput
from greenroom.keyspace import Keyspace
from greenroom.keyspace.mismatch import SchemaMismatch

_MARK = "greenroom.django"
_NONE = {_MARK: None}
_SCALARS = frozenset({str, int, float, bool, type(None)})
_PICKLE = "store what JSON keeps as it is (dict, list, str, int, float, bool, None), or set OPTIONS['pickle'] = True"


class CachedValues:
    """What is stored for each value of a cache.

    Arguments:
        keyspace: of the cache.
        pickled: whether a value that JSON would change is pickled.
    """

    def __init__(self, keyspace: Keyspace[Any], *, pickled: bool) -> None:
        self._keyspace = keyspace
        self._pickled = pickled

    def packed(self, key: str, value: Any) -> Any:
        """What is stored for a value.

        Raises:
            InvalidInput: for one that JSON would change into another than an equal one.
        """
        if value is None:
            return _NONE
        if type(value) is int or (type(value) is str and value.isascii()):
            return value
        reason = "its one member has a reserved name"
        # What is only equal to its JSON is pickled where it may be: the member of an enum, a defaultdict.
        if not _is_marked(value) and (not self._pickled or _is_plain(value)):
            try:
                self._keyspace.codec.round_trip(value)
            except SchemaMismatch as error:
                reason = str(error)
            else:
                return value
        if not self._pickled:
            raise InvalidInput("value", f"of {key!r:.80} cannot be stored as JSON: {reason}", _PICKLE)
        return {_MARK: b64encode(pickle.dumps(value, pickle.HIGHEST_PROTOCOL)).decode()}

    def unpacked(self, stored: Any) -> Any:
        """The value of what is stored."""
        if not _is_marked(stored):
            return stored
        inner = stored[_MARK]
        if inner is None or not self._pickled:
            return None
        return pickle.loads(b64decode(inner))


def _is_marked(value: Any) -> bool:
    return type(value) is dict and len(value) == 1 and _MARK in value


def _is_plain(value: Any) -> bool:
    """Whether it is of the types that JSON is read as, and all that it holds."""
    kind = type(value)
    if kind is dict:
        return all(type(name) is str and _is_plain(one) for name, one in value.items())
    return all(map(_is_plain, value)) if kind is list else kind in _SCALARS
