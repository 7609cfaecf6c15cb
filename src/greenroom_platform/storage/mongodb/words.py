"""The words of a document on MongoDB, beside its members, by which it is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from greenroom_platform.domain.searching import words_of

WORDS, TITLE_WORDS = "words", "title_words"
_KEPT = 1000
"""Different words of a document by which it is found."""


class Searched(NamedTuple):
    """The members whose words count, of one kind of document."""

    title: tuple[str, ...]
    body: tuple[str, ...]


OF_TOPICS = Searched(("display_name",), ("description", "keywords"))
OF_SNIPPETS = Searched(("title",), ("text_content",))


def matching(words: Sequence[str], *, in_title: bool) -> dict[str, Any]:
    """The query for all words, the last of which may be the beginning of one; they are letters and digits alone."""
    member = TITLE_WORDS if in_title else WORDS
    *whole, last = words
    return {"$and": [*({member: word} for word in whole), {member: {"$regex": f"^{last}"}}]}


def words_in(members: Mapping[str, Any], searched: Searched) -> dict[str, list[str]]:
    """What a document has for the search, beside its members."""
    title = list(dict.fromkeys(word for name in searched.title for word in _of_member(members.get(name))))
    body = (word for name in searched.body for word in _of_member(members.get(name)))
    return {TITLE_WORDS: title[:_KEPT], WORDS: list(dict.fromkeys([*title, *body]))[:_KEPT]}


def _of_member(value: object) -> list[str]:
    """The words of a member, which another program may have made anything."""
    if isinstance(value, list | tuple):
        return [word for one in value for word in _of_member(one)]
    return words_of(value) if isinstance(value, str) else []
