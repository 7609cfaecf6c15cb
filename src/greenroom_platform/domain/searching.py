"""Search over topics and snippets: what a listener types becomes words, and the record finds what has all of them.

The answers are cached in a keyspace of their own. Any edit of a topic or snippet may change any answer, and nobody can
say which. So their keys have an *epoch* in them, a random text that is a cached value itself. Each change drops that
one key, as it drops the others; who searches next makes a new epoch, and what is under the old one lapses in a minute:

    a search is loaded · a topic is changed, and the epoch dropped · the search is stored, under the old epoch: nobody
    who reads the new one finds it
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from string import ascii_lowercase
from typing import Protocol, runtime_checkable

from greenroom.caching import Cache, CacheResult
from greenroom.clock import Clock
from greenroom.errors import InvalidInput
from greenroom_platform.definitions import SEARCH_LIMIT
from greenroom_platform.models import Found, Snippet, Topic

TYPED = (2, 100)
"""Characters of what is typed."""
WORDS = 10
"""Words of it that are looked for; what is behind them is not."""
WORD_LENGTH = 40
"""Characters of a word that count; what is behind them does not."""
_WORD = re.compile(r"[^\W_]+")
_LATIN = re.compile("[\u00c0-\u024f\u1e00-\u1eff]")
_ACCENTS = re.compile("(?<=[a-z])[\u0300-\u036f]+")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, Latin letters without accents, in their order.

    As SQLite's tokenizer `unicode61` takes them, so that both records find the same. It leaves other scripts as they
    are: й is no и with an accent. Neither knows where a word of Chinese or Thai ends, and a run of signs is one word.
    """
    lower = text.lower().replace("ς", "σ")
    plain = lower if lower.isascii() else _ACCENTS.sub("", _LATIN.sub(_without_accent, lower))
    return [word[:WORD_LENGTH] for word in _WORD.findall(plain)]


def _without_accent(letter: re.Match[str]) -> str:
    """A Latin letter without its accents, if that is one of a to z; ø and ß stay."""
    first, *accents = list(unicodedata.normalize("NFD", letter[0]))
    return first if accents and first in ascii_lowercase else letter[0]


@runtime_checkable
class Searchable(Protocol):
    """A record that finds topics and snippets by their words; `Records` in other regards.

    Every word must be there, and the last may be the beginning of one. Those that have all of them in their name or
    title come first; then topics are ordered by display name, snippets from the newest, then both by id. Where a great
    many match, the record may look at some of them only.

    What is committed is found by every search that begins later; what other programs write may be found a little later.
    """

    async def search_topics(self, words: Sequence[str], limit: int) -> tuple[Topic, ...]:
        """Topics whose name, keywords or description have the words."""

    async def search_snippets(self, words: Sequence[str], limit: int) -> tuple[Snippet, ...]:
        """Snippets whose title or text has the words."""


async def new_epoch(clock: Clock) -> str:
    """An epoch that never was."""
    return clock.token().hex()


# docs/decisions/0104-each-change-begins-a-new-epoch-of-searches.md
class Search:
    """Searches of the platform."""

    def __init__(self, epoch: Cache[str], cache: Cache[Found]) -> None:
        self._epoch = epoch
        self._cache = cache

    async def find(self, typed: str, limit: int = SEARCH_LIMIT.max) -> CacheResult[Found] | None:
        """As `read`, where it is cached; None where the record would have to be asked."""
        return await self._cache.find(*await self._parts(typed, limit))

    async def read(self, typed: str, limit: int = SEARCH_LIMIT.max) -> CacheResult[Found]:
        """At most so many topics and so many snippets, the best first, their JSON, and how they came about.

        Raises:
            InvalidInput: naming `q`, where nothing can be looked for; `limit`, where it is out of range.
        """
        return await self._cache.get_result(*await self._parts(typed, limit))

    async def _parts(self, typed: str, limit: int) -> tuple[str | None, int, str]:
        words = _key_words(typed)
        # Before anything is read of the record: what is found belongs to an epoch that is over, if it ends meanwhile.
        return await self._epoch.get(), limit, words


def _key_words(typed: str) -> str:
    """What is typed, as the key has it: two that mean the same are one."""
    least, most = TYPED
    if not least <= len(typed.strip()) <= most:
        raise InvalidInput("q", f"has {len(typed.strip())} characters", f"type {least} to {most} characters")
    words = words_of(typed)[:WORDS]
    if not words:
        raise InvalidInput("q", "has no letter and no digit", "type a word, or its beginning")
    return " ".join(words)
