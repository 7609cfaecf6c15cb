"""The lines of NDJSON: each as a topic or a snippet, or refused with the field and its remedy."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from datetime import datetime
from typing import IO

import msgspec

from greenroom.errors import InvalidInput
from greenroom.keyspace.parts import check_part
from greenroom.keyspace.validation import field_and_reason
from greenroom_platform.domain.records import SnippetImport, TopicImport
from greenroom_platform.models import given_in_utc

LINE_LIMIT = 1025 * 1024
"""Bytes of a line above which it is refused unread: what an editor sends in 1 MiB, with the id and the times."""


class TopicLine(TopicImport, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A topic in a line."""


class SnippetLine(SnippetImport, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A snippet in a line."""


_KINDS: dict[str, type[TopicLine] | type[SnippetLine]] = {"topic": TopicLine, "snippet": SnippetLine}
_REQUIRED = {
    kind: sorted(
        (one.name for one in msgspec.structs.fields(type_) if one.required), key=lambda name: not name.endswith("_id")
    )
    for kind, type_ in _KINDS.items()
}
"""The members without which a line is bad, ids first."""
_ARRAY = "write one object a line; `jq -c '.[]'` makes that of an array"


def numbered_lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Numbered lines that are not blank; of one that is too long its beginning, longer than the limit."""
    number = 0
    while text := file.readline(LINE_LIMIT + 1):
        number += 1
        if len(text) > LINE_LIMIT and not text.endswith(b"\n"):
            while (rest := file.readline(LINE_LIMIT)) and not rest.endswith(b"\n"):
                pass
        if number == 1:
            text = text.removeprefix(codecs.BOM_UTF8)  # some editors write it
        if text.strip():
            yield number, text


def _is_too_long(text: bytes) -> bool:
    return len(text) > LINE_LIMIT and not text.endswith(b"\n")


def check_form(text: bytes) -> None:
    """Refuse a whole file by its first line, where that begins JSON over several lines: none of them would be good."""
    begun = text.strip()
    if begun == b"{":
        raise InvalidInput("line", "begins an object over several lines", "write one object a line, as `jq -c .` does")
    if not begun.startswith(b"["):
        return
    whole = not _is_too_long(text)
    if whole:
        try:
            msgspec.json.decode(begun)
        except msgspec.DecodeError as error:
            whole = "truncated" not in str(error)
        except (UnicodeDecodeError, RecursionError):
            return
    if not whole:
        raise InvalidInput("line", "begins a JSON array", _ARRAY)


def parsed(text: bytes) -> TopicLine | SnippetLine:
    """The object of a line.

    Raises:
        InvalidInput: naming the field, for a line that is none of ours.
    """
    if _is_too_long(text):
        raise InvalidInput("line", f"is longer than {LINE_LIMIT:,} bytes", "shorten the text")
    try:
        members = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("line", f"is not JSON: {error}", "write one JSON object a line, in UTF-8") from None
    if isinstance(members, list):
        raise InvalidInput("line", "is a JSON array", _ARRAY)
    if not isinstance(members, dict):
        raise InvalidInput("line", "is not a JSON object", "write one JSON object a line")
    kind = "snippet" if "snippet_id" in members else "topic"
    remedy = f"see the {kind} in `greenroom load -h`"
    # Before the conversion, which names the first only: who has left out several need not come back for each.
    if missing := [name for name in _REQUIRED[kind] if name not in members]:
        raise InvalidInput(", ".join(missing), "is missing" if len(missing) == 1 else "are missing", remedy)
    try:
        line: TopicLine | SnippetLine = msgspec.convert(members, _KINDS[kind])
    except msgspec.ValidationError as error:
        raise InvalidInput(*field_and_reason(error), remedy) from None
    for name in ("snippet_id", "topic_id"):
        if name in members:
            check_part(name, members[name])
    for name, value in msgspec.structs.asdict(line).items():
        if isinstance(value, datetime):
            given_in_utc(name, value)
    return line
