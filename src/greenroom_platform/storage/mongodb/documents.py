"""Objects to documents and back: whatever other programs have written is read, left out or named, never believed.

A document has the members of the API under their own names; `_id` is the object's id. Times are text, as in the API: a
BSON date has milliseconds only. Other programs may store dates all the same, and they are read. What is sorted by is a
whole number beside the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import bson
import msgspec
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument

from greenroom_platform.models import Snippet, Topic
from greenroom_platform.storage.broken import broken_document, check_status
from greenroom_platform.storage.moments import microseconds
from greenroom_platform.storage.mongodb.words import OF_SNIPPETS, OF_TOPICS, words_in

T = TypeVar("T", bound=msgspec.Struct)

RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
"""Each document of a reply by itself: one that cannot be decoded must not take the others with it."""
# A date outside of Python's years is no error of the whole document here; it fits no type, and is told so.
_DECODED: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True, tzinfo=UTC, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
LENIENT: CodecOptions[dict[str, Any]] = CodecOptions(
    unicode_decode_error_handler="replace", datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
"""Reads whatever there is: signs in place of what is no UTF-8, numbers where a date is outside of Python's years."""

LOCK = "lock"
"""Counted up by whoever relies on a document: two transactions that only read it do not conflict, nor do two that write
what is there already."""
GENERATED = "generated"
"""When a snippet was generated, in microseconds since 1970: sorts rightly, whatever the fraction digits of the text."""
_OPTIONAL = "cover_art_prompt", "image_url"


def decoded(raw: RawBSONDocument, type_: type[T]) -> T:
    """The object in a document.

    Raises:
        BrokenDocument: where it does not fit the type.
    """
    members = _members(raw, type_)
    try:
        found = msgspec.convert(members, type_)
    except msgspec.ValidationError as error:
        raise broken_document(type_, _id(members), str(error)) from None
    # Prevents: another program's document says it is another object · that one's cached value is this one.
    if members.get("_id") != getattr(found, type_.__struct_fields__[0]):
        reason = f"its {type_.__struct_fields__[0]} is not its _id"
        raise broken_document(type_, _id(members), reason)
    check_status(found, _id(members))
    return found


def _members(raw: RawBSONDocument, type_: type[msgspec.Struct]) -> dict[str, Any]:
    try:
        members = bson.decode(raw.raw, _DECODED)
    except (InvalidBSON, OverflowError, RecursionError) as error:
        raise broken_document(type_, _id(_half_decoded(raw)), str(error)) from None
    return {name: _moment(value) for name, value in members.items()}


def _half_decoded(raw: RawBSONDocument) -> dict[str, Any]:
    """What a document says with the text that is none replaced; for its id."""
    try:
        return bson.decode(raw.raw, LENIENT)
    except (InvalidBSON, OverflowError, RecursionError):
        return {}


def _moment(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def _id(members: Mapping[str, Any]) -> str:
    return repr(members.get("_id"))


def topic_update(topic: Topic) -> dict[str, Any]:
    """The update that makes a document this topic, new or not; members of other programs stay."""
    members = msgspec.to_builtins(topic)
    members |= words_in(members, OF_TOPICS)
    return {"$set": members, "$inc": {LOCK: 1}}


def snippet_update(snippet: Snippet) -> dict[str, Any]:
    """The update that makes a document this snippet, new or not; members of other programs stay."""
    members = msgspec.to_builtins(snippet)
    members |= words_in(members, OF_SNIPPETS)
    members[GENERATED] = bson.Int64(microseconds(snippet.generation_timestamp))
    update = {"$set": members, "$inc": {LOCK: 1}}
    omitted = dict.fromkeys((name for name in _OPTIONAL if name not in members), "")
    return update | {"$unset": omitted} if omitted else update
