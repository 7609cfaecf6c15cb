"""Whose session it is: the member of its JSON that says so, and the ids that it may hold."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from greenroom.argument_types import type_name
from greenroom.errors import InvalidInput
from greenroom.keyspace.type_parts import classes, members
from greenroom.sessions import raw_json
from greenroom.sessions.json_scan import members_by_scan

FIELD = "user_id"
"""The member's name in Python."""
USER_ID_MAX = 256
"""Characters of a user's id."""


@dataclasses.dataclass(frozen=True)
class UserMember:
    """The member of a session type that names its user.

    Arguments:
        name: what it is called in JSON, where a type renames its members.
        text: whether it takes text.
        numbers: whether it takes whole numbers; the lists of a user's sessions go by their text.
    """

    name: str = FIELD
    text: bool = True
    numbers: bool = False

    @classmethod
    def of_type(cls, type_: Any) -> UserMember:
        """That of a session type; the usual one where the type does not name it."""
        class_ = typing.get_origin(type_) or type_
        if not isinstance(class_, type):
            return cls()
        fields = members(class_)
        if FIELD not in fields:
            # A mapping holds what it is given.
            return cls(numbers=issubclass(class_, Mapping) and not fields)
        name = FIELD
        if issubclass(class_, msgspec.Struct):
            name = next(field.encode_name for field in msgspec.structs.fields(class_) if field.name == FIELD)
        kinds = classes(fields[FIELD]) - {type(None), msgspec.UnsetType, types.UnionType}
        return cls(name, text=kinds != {int}, numbers=int in kinds or fields[FIELD] in (Any, object))

    def of(self, body: bytes) -> str | None:
        """Whose session it is, as text; None for nobody's, and where the JSON does not tell."""
        try:
            user = self._decoder.decode(body).user_id
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            user = self._by_scan(body)
        if self.numbers and isinstance(user, int) and not isinstance(user, bool):
            return str(user)
        return user if self.text and isinstance(user, str) else None

    def check(self, user_id: Any) -> str:
        """The id as text.

        Raises:
            InvalidInput: when it is none.
        """
        if self.numbers and isinstance(user_id, int) and not isinstance(user_id, bool) and abs(user_id) < 1 << 63:
            return str(user_id)
        if self.text and isinstance(user_id, str) and 1 <= len(user_id) <= USER_ID_MAX:
            return user_id
        shown = f"is {type_name(user_id)}"
        if self.text and isinstance(user_id, str):
            shown = f"has {len(user_id)} characters"
        kinds = [f"a string of 1 to {USER_ID_MAX} characters"] * self.text + [
            "a whole number of 64 bits"
        ] * self.numbers
        raise InvalidInput(FIELD, shown, f"use {' or '.join(kinds)}; leave it out for nobody")

    def changed(self, body: bytes, changes: Mapping[str, object]) -> bytes:
        """See `raw_json.changed`.

        Raises:
            InvalidInput: as there, and for an id that is none.
        """
        value = changes.get(self.name, msgspec.UNSET)
        if isinstance(value, msgspec.Raw):
            # Not by `of`, which gives text: where ids are numbers alone, their text is none.
            json = raw_json.member_json(FIELD, value)
            with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                value = msgspec.json.decode(json)
        if value is not msgspec.UNSET:
            # Here, where it is the caller's: once in the session's JSON the error would speak of what is stored.
            self.check(value)
        return raw_json.changed(body, changes)

    def renamed(self, given: dict[str, object]) -> dict[str, object]:
        """Members given by keyword: `user_id` is the member of whatever name."""
        if self.name != FIELD and FIELD in given:
            given[self.name] = given.pop(FIELD)
        return given

    @property
    def _decoder(self) -> msgspec.json.Decoder[Any]:
        return _decoder(self.name)

    def _by_scan(self, body: bytes) -> Any:
        # Prevents: another program's member is no text · the session counts as nobody's · it leaves its user's list.
        try:
            return msgspec.json.decode(members_by_scan(body).get(self.name, b"null"))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None


_decoders: dict[str, msgspec.json.Decoder[Any]] = {}


def _decoder(name: str) -> msgspec.json.Decoder[Any]:
    """Decodes that member only; made once for each name."""
    made = _decoders.get(name)
    if made is None:
        type_ = msgspec.defstruct("Owned", [(FIELD, Any, None)], rename={FIELD: name})
        made = _decoders[name] = msgspec.json.Decoder(type_)
    return made
