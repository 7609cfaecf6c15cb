"""Whole objects to be stored: the times that they lack, and which of them differ from what is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime

import msgspec

from greenroom.errors import UnknownReference
from greenroom_platform.domain.records import SnippetImport, TopicImport
from greenroom_platform.models import Snippet, Topic, in_utc


class WholeObjects:
    """What a caller wants stored; of several objects with one id the last counts.

    Times that an object lacks are found in the transaction, and not by the caller: an editor's change in between would
    get times that were stored before it.
    """

    def __init__(
        self, topics: Sequence[Topic | TopicImport], snippets: Sequence[Snippet | SnippetImport], now: datetime
    ) -> None:
        self.topics = {one.topic_id: one for one in topics}
        self.snippets = {one.snippet_id: one for one in snippets}
        self.named = {one.topic_id for one in snippets}
        """Topics that the snippets name."""
        self._now = now

    def check(self, known: Set[str]) -> None:
        """Return if every snippet's topic is known, or among those to be stored.

        Raises:
            UnknownReference: otherwise.
        """
        for one in self.snippets.values():
            if one.topic_id not in known and one.topic_id not in self.topics:
                raise UnknownReference("topic_id", one.topic_id)

    def differing(self, topics: Iterable[Topic], snippets: Iterable[Snippet]) -> Differing:
        """What of it differs from what is stored under its ids."""
        old_topics = {one.topic_id: one for one in topics}
        old_snippets = {one.snippet_id: one for one in snippets}
        whole_topics = [_whole_topic(one, old_topics.get(key), self._now) for key, one in self.topics.items()]
        whole_snippets = [_whole_snippet(one, old_snippets.get(key), self._now) for key, one in self.snippets.items()]
        return Differing(
            [one for one in whole_topics if old_topics.get(one.topic_id) != one],
            [one for one in whole_snippets if old_snippets.get(one.snippet_id) != one],
            old_topics.keys(),
            old_snippets,
        )


class Differing:
    """What is to be written, and the topics whose pages it changes."""

    def __init__(
        self,
        topics: Sequence[Topic],
        snippets: Sequence[Snippet],
        old_topics: Set[str],
        old_snippets: Mapping[str, Snippet],
    ) -> None:
        self.topics = topics
        self.snippets = snippets
        self.stored = old_topics, old_snippets.keys()
        """The ids among those of topics and of snippets that are there already."""
        earlier = [(one, old_snippets[one.snippet_id]) for one in snippets if one.snippet_id in old_snippets]
        self.gone = Counter(before.topic_id for one, before in earlier if before.topic_id != one.topic_id)
        """How many snippets leave each topic."""
        self.touched = {one.topic_id for one in snippets} | self.gone.keys()

    def __bool__(self) -> bool:
        return bool(self.topics or self.snippets)


def _whole_topic(new: Topic | TopicImport, old: Topic | None, now: datetime) -> Topic:
    members = msgspec.structs.asdict(new)
    members["created_at"] = _time(new.created_at, old.created_at if old is not None else now)
    members["updated_at"] = _time(new.updated_at, old.updated_at if old is not None else now)
    whole = Topic(**members)
    if new.updated_at is msgspec.UNSET and whole != old:
        return msgspec.structs.replace(whole, updated_at=now)
    return whole


def _whole_snippet(new: Snippet | SnippetImport, old: Snippet | None, now: datetime) -> Snippet:
    members = msgspec.structs.asdict(new)
    stored = old.generation_timestamp if old is not None else now
    members["generation_timestamp"] = _time(new.generation_timestamp, stored)
    return Snippet(**members)


def _time(given: datetime | msgspec.UnsetType, otherwise: datetime) -> datetime:
    return in_utc(given) if isinstance(given, datetime) else otherwise
