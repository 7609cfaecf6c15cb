"""What the events of other programs made stale."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from greenroom.keyspace import Keyspace
from greenroom_platform.definitions import SNIPPET_PAGE
from greenroom_platform.domain.foreign_changes import EVERYTHING
from greenroom_platform.storage.mongodb.database import OUTBOX, SNIPPETS, TASKS, TOPICS
from greenroom_platform.storage.mongodb.words import WORDS

WHOLE = {"drop", "rename", "dropDatabase", "invalidate"}
"""Events after which nothing is known of single documents."""
_SEEN = {"status", "error_message", "estimated_completion_time", "podcast_id"}
"""The members of a task that listeners see."""
_OURS = {"lock", WORDS}
"""Members that say nothing of the object: that somebody relies on it, and its words."""
CACHED = TOPICS, SNIPPETS, TASKS
_OF_CACHES = {*CACHED, OUTBOX}
"""Collections without which nothing is known of what is cached. Of the others the indexes are made again."""


class EventEffects:
    """What events made stale."""

    def __init__(self) -> None:
        self.events = 0
        self.first: Mapping[str, Any] = {}
        self.topics: set[str] = set()
        self.snippets: set[str] = set()
        self.statuses: set[str] = set()
        self.paged: set[str] = set()
        """Topics whose pages are stale."""
        self.left: Counter[str] = Counter()
        """How many snippets have left each topic."""
        self.unprepared = False
        """A collection is another than the one that was made ready."""
        self.lost: tuple[Keyspace[Any], ...] = ()

    def add(self, event: Mapping[str, Any]) -> None:
        """Add what an event of another program made stale."""
        kind = event["operationType"]
        if kind in WHOLE:
            self.unprepared = True
            names = {collection_of(event), event.get("to", {}).get("coll")}
            if kind in ("drop", "rename") and not names & _OF_CACHES:
                return
            self.lost = EVERYTHING
        else:
            changed = _changed(event)
            if changed is not None and not changed - _OURS:
                return
            if collection_of(event) == TASKS and changed is not None and not changed & _SEEN:
                return  # as a claim, which listeners do not see
            self._add_document(event, event["documentKey"]["_id"])
        self.first = self.first or event
        self.events += 1

    def _add_document(self, event: Mapping[str, Any], id_: object) -> None:
        ids = {TOPICS: self.topics, SNIPPETS: self.snippets, TASKS: self.statuses}[collection_of(event)]
        if isinstance(id_, str):  # no key can hold any other
            ids.add(id_)
        if collection_of(event) != SNIPPETS:
            return
        before, after = event.get("fullDocumentBeforeChange"), event.get("fullDocument")
        updated = event.get("updateDescription", {}).get("updatedFields", {})
        topics = {one for some in (before, after, updated) if some is not None for one in _topics(some)}
        self.paged |= topics
        if before is not None and (event["operationType"] == "delete" or len(topics) > 1):
            self.left.update(_topics(before))
        if before is None and event["operationType"] != "insert":
            # Nobody says in whose pages it was.
            self.unprepared = True
            self.lost = self.lost or (SNIPPET_PAGE,)


def _topics(snippet: Mapping[str, Any]) -> set[str]:
    """The topics in whose pages a snippet is: of an array, which others may write, each that it names."""
    named = snippet.get("topic_id")
    return {one for one in (named if isinstance(named, list) else [named]) if isinstance(one, str)}


def collection_of(event: Mapping[str, Any]) -> str:
    """The name of the collection that an event is of."""
    return str(event.get("ns", {}).get("coll", ""))


def _changed(event: Mapping[str, Any]) -> set[str] | None:
    """The members that an update has changed; None where the whole document has come or gone."""
    if event["operationType"] != "update":
        return None
    update = event["updateDescription"]
    names: Iterable[str] = [*update.get("updatedFields", {}), *update.get("removedFields", [])]
    truncated = [one["field"] for one in update.get("truncatedArrays", [])]
    return {name.partition(".")[0] for name in [*names, *truncated]}
