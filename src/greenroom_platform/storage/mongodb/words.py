"""The words of a document on MongoDB, beside its members, by which it is found.

One array has the whole words, and of each its beginnings of up to 4 letters, as `o*`, `oc*`, `oce*` and `ocea*` of
ocean; of the title these once more with `=` before them. So all that a server is asked is which documents have one
entry. SecantusDB reads the whole collection for a regular expression, for a range within an array, and for two
conditions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple

from greenroom_platform.domain.searching import words_of

WORDS = "words"
TITLE, ANYWHERE = "=", ""
"""What stands before the entries of a title, and of the whole document."""
_KEPT = 1000
"""Different words of a document by which it is found."""
_BEGINNING = 4
"""Letters of the longest beginnings that are kept: with all of them the index would be many times as large."""


class Searched(NamedTuple):
    """The members whose words count, of one kind of document."""

    title: tuple[str, ...]
    body: tuple[str, ...]


OF_TOPICS = Searched(("display_name",), ("description", "keywords"))
OF_SNIPPETS = Searched(("title",), ("text_content",))


def entries_of(words: Sequence[str], where: str) -> list[str]:
    """The entries that a document must have in which there are all words, the last perhaps as a beginning."""
    *whole, last = words
    return [where + one for one in dict.fromkeys([*whole, f"{last[:_BEGINNING]}*"])]


def has_all(words: Sequence[str], where: str, entries: Set[str]) -> bool:
    """Whether a document with these entries has all words, the last perhaps as a beginning."""
    *whole, last = words
    if not all(where + word in entries for word in whole):
        return False
    return any(one.startswith(where + last) for one in entries)


def words_in(members: Mapping[str, Any], searched: Searched) -> dict[str, list[str]]:
    """What a document has for the search, beside its members."""
    title = list(dict.fromkeys(word for name in searched.title for word in _of_member(members.get(name))))[:_KEPT]
    body = (word for name in searched.body for word in _of_member(members.get(name)))
    every = list(dict.fromkeys([*title, *body]))[:_KEPT]
    return {WORDS: [*_entries(title, TITLE), *_entries(every, ANYWHERE)]}


def _entries(words: Sequence[str], where: str) -> Iterable[str]:
    beginnings = (word[:length] for word in words for length in range(1, min(len(word), _BEGINNING) + 1))
    return [*(where + word for word in words), *(f"{where}{one}*" for one in dict.fromkeys(beginnings))]


def _of_member(value: object) -> list[str]:
    """The words of a member, which another program may have made anything."""
    if isinstance(value, list | tuple):
        return [word for one in value for word in _of_member(one)]
    return words_of(value) if isinstance(value, str) else []
