"""The protocol of the record: what the platform asks of its system of record, whatever database that is.

Writes return a `Change`, which says what they made stale. It is stored in the same transaction (the outbox): a
process killed between its commit and the invalidation leaves it behind, and whoever opens the record next sends it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, Protocol, TypeVar, runtime_checkable

import msgspec

from greenroom_platform.domain.precondition import ALWAYS, Precondition
from greenroom_platform.models import HeardPodcast, Snippet, Timestamp, Topic, User

T = TypeVar("T")

EditHistory = Callable[[tuple[HeardPodcast, ...]], tuple[HeardPodcast, ...]]

NonEmpty = Annotated[str, msgspec.Meta(min_length=1)]


class TopicDraft(msgspec.Struct, frozen=True, kw_only=True):
    """The members of a topic that an editor sets; the times are the record's."""

    display_name: NonEmpty
    description: str
    keywords: tuple[NonEmpty, ...]


class SnippetDraft(msgspec.Struct, frozen=True, kw_only=True):
    """The members of a snippet that an editor sets; its id and time are the record's."""

    topic_id: str
    title: NonEmpty
    text_content: NonEmpty
    cover_art_prompt: str | msgspec.UnsetType = msgspec.UNSET
    image_url: str | msgspec.UnsetType = msgspec.UNSET


def members_of(draft: TopicDraft | SnippetDraft) -> dict[str, Any]:
    """The members of a draft by name, those left out included, to make a whole object of."""
    return {name: getattr(draft, name) for name in draft.__struct_fields__}


class TopicImport(TopicDraft, frozen=True, kw_only=True):
    """A whole topic from elsewhere; times that it lacks are the record's, as in `put_topic`."""

    topic_id: str
    created_at: Timestamp | msgspec.UnsetType = msgspec.UNSET
    updated_at: Timestamp | msgspec.UnsetType = msgspec.UNSET


class SnippetImport(SnippetDraft, frozen=True, kw_only=True):
    """A whole snippet from elsewhere; a time that it lacks is the record's, as in `add_snippet` and `put_snippet`."""

    snippet_id: str
    generation_timestamp: Timestamp | msgspec.UnsetType = msgspec.UNSET


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What one committed write made stale.

    Arguments:
        change_id: its row in the outbox, acknowledged once every key has been dropped.
        topics: ids of topics whose object changed, came or went; the list of all topics is stale if there is one.
        snippets: ids of snippets whose object changed, came or went.
        pages: for each topic whose pages are stale, its id and the last page number to drop:
            the last page before or after the change, whichever is greater, plus one.
        statuses: ids of podcasts whose status changed.
    """

    change_id: int
    topics: tuple[str, ...] = ()
    snippets: tuple[str, ...] = ()
    pages: tuple[tuple[str, int], ...] = ()
    statuses: tuple[str, ...] = ()


class Written(msgspec.Struct, Generic[T], frozen=True):
    """A write that took place: the value as stored, whether it is new, and what it made stale."""

    value: T
    created: bool
    change: Change


def changes_in(result: object) -> tuple[Change, ...]:
    """The changes in what a write returns, or would have returned."""
    if isinstance(result, tuple):
        return tuple(one for one in result if isinstance(one, Change))
    change = getattr(result, "change", result)
    return (change,) if isinstance(change, Change) else ()


class Records(Protocol):
    """The system of record. Every read sees everything committed before it began.

    A write that takes a condition compares it in its own transaction, with the object as it is stored then: of two
    writers that rely on one version the second gets `PreconditionFailed`, and nothing of its write is stored.

    An edit is called in the transaction as well, after the condition, with the object as it is stored then. It is a
    pure function, and quick: a database that retries its transactions calls it again, perhaps with another object,
    and others wait meanwhile. What it raises undoes the transaction and goes to the caller as it is.

    Raises, from any method:
        RecordUnavailable: when the database cannot be reached, or is busy beyond its deadline; nothing is changed.
        RecordOutcomeUnknown: when a write may be stored, as a whole, or not.
        BrokenDocument: when what is stored under an id is another program's and does not fit. Lists leave such out.
    """

    async def topic(self, topic_id: str) -> Topic | None:
        """One topic; None where there is none."""

    async def topics(self) -> tuple[Topic, ...]:
        """Every topic, by display name, then id."""

    async def snippet(self, snippet_id: str) -> Snippet | None:
        """One snippet; None where there is none."""

    async def page(self, topic_id: str, page_number: int) -> tuple[Snippet, ...]:
        """The snippets of a topic, newest first, then by id, 20 a page from 1; empty past the end."""

    async def newest(self, limit: int) -> tuple[Snippet, ...]:
        """The newest snippets over all topics, in the order of a page."""

    async def put_topic(
        self, topic_id: str, draft: TopicDraft, now: datetime, *, condition: Precondition = ALWAYS
    ) -> Written[Topic]:
        """Create the topic or replace what the draft says of it; `created_at` stays, `updated_at` becomes `now`.

        Raises:
            PreconditionFailed: when the condition does not hold of the stored topic.
        """

    async def edit_topic(
        self,
        topic_id: str,
        edit: Callable[[Topic | None], TopicDraft],
        now: datetime,
        *,
        condition: Precondition = ALWAYS,
    ) -> Written[Topic]:
        """As `put_topic`, with the draft that `edit` makes of the stored topic; None where there is none."""

    async def delete_topic(self, topic_id: str, *, condition: Precondition = ALWAYS) -> Change | None:
        """Delete a topic; None where there is none, whatever the condition.

        Raises:
            Conflict: while it has snippets, whatever the condition.
            PreconditionFailed: when the condition does not hold of it.
        """

    async def add_snippet(self, snippet_id: str, draft: SnippetDraft, now: datetime) -> Written[Snippet]:
        """Create a snippet generated `now`.

        Raises:
            UnknownReference: when its topic does not exist.
            Conflict: when the id is taken.
        """

    async def put_snippet(
        self, snippet_id: str, draft: SnippetDraft, *, condition: Precondition = ALWAYS
    ) -> Written[Snippet] | None:
        """Replace what the draft says of a snippet, its topic included.

        None where there is no such snippet, whatever the condition.

        Raises:
            PreconditionFailed: when the condition does not hold of the stored snippet.
            UnknownReference: when its topic does not exist.
        """

    async def edit_snippet(
        self, snippet_id: str, edit: Callable[[Snippet], SnippetDraft], *, condition: Precondition = ALWAYS
    ) -> Written[Snippet] | None:
        """As `put_snippet`, with the draft that `edit` makes of the stored snippet; not called where there is none."""

    async def delete_snippet(self, snippet_id: str, *, condition: Precondition = ALWAYS) -> Change | None:
        """Delete a snippet; None where there is none, whatever the condition.

        Raises:
            PreconditionFailed: when the condition does not hold of it.
        """

    async def store(
        self,
        topics: Sequence[Topic | TopicImport],
        snippets: Sequence[Snippet | SnippetImport],
        now: datetime | None = None,
    ) -> Change | None:
        """Create or replace whole objects in one transaction, times included; None where nothing differs.

        Times that an object lacks stay as they are stored, and are `now` where nothing is; but a missing `updated_at`
        becomes `now` where anything else of the topic differs.

        Arguments:
            now: None takes the time of this machine.

        Raises:
            UnknownReference: when a snippet's topic is neither stored nor among `topics`; nothing is stored then.
        """

    async def pending(self, *, older_than: float = 0.0, after: int = 0, limit: int = 200) -> tuple[Change, ...]:
        """Changes not yet acknowledged that were committed at least `older_than` seconds ago, by their ids.

        Arguments:
            after: only those with a greater id: to read on. Who looks anew begins at 0, since a lower id may be
                committed later. A row that cannot be read is logged and left out, and holds up no other.
        """

    async def acknowledge(self, change_ids: Sequence[int]) -> None:
        """Forget changes whose keys have been dropped; unknown ids are no error."""

    async def is_empty(self) -> bool:
        """Whether there is neither a topic nor a snippet."""

    async def ping(self) -> None:
        """Return if the database answers a read."""

    async def close(self) -> None:
        """Let go of the database; further calls fail."""


@runtime_checkable
class ChecksWrites(Protocol):
    """A record that knows whether it can be written; `Records` in other regards."""

    @property
    def write_trouble(self) -> str | None:
        """Why its last write could not be made, and the remedy, for the operator; None where it could."""

    async def check_writes(self) -> str | None:
        """Why changes cannot be stored at the moment, where strangers may read it; None while they can.

        Asked at each health check: it costs next to nothing while there is no trouble, and notices when it is over.
        """


class UserRecords(Protocol):
    """The users among the records. Nothing of them is cached, so no write makes anything stale.

    Raises, from any method: what `Records` does.
    """

    async def add_user(self, user: User) -> None:
        """Create a user.

        Raises:
            Conflict: when the name or the id is taken.
        """

    async def user_by_name(self, username: str) -> User | None:
        """The user of a name in lower case; None where there is none."""

    async def user(self, user_id: str) -> User | None:
        """One user; None where there is none."""

    async def set_preferences(self, user_id: str, preferences: Mapping[str, Any], at: datetime) -> bool:
        """Set some of a user's preferences; False where there is no such user, or all that is kept of them is later.

        Prevents: two requests set one of them in the session, A and then B · B is written here · A is written here, and
        the next sign-in brings A. Those not named stay: two devices may each have set another one.

        Arguments:
            at: when they were set, by the clock of the sessions' server.
        """

    async def replace_hash(self, user_id: str, old: str, new: str) -> bool:
        """Replace a user's password hash if it is still the old one; else False, and nothing is changed.

        Prevents: a sign-in verifies the old password · the password is changed · the sign-in stores the old password
        under today's parameters.
        """

    async def edit_history(self, user_id: str, edit: EditHistory) -> bool:
        """Replace a user's history by what `edit` makes of it; False where there is no such user.

        In one transaction. Prevents: two pages tell how far they are · both read the history · the second to write
        takes away what the first has written. And: a user is deleted · a page tells how far it is · something of the
        user is stored again.

        Arguments:
            edit: a pure function, perhaps called more than once. What it leaves as it was is not written.
        """

    async def set_feed(self, user_id: str, feed_hash: str | None) -> bool:
        """Replace the hash of a user's feed, or take it away; False where there is no such user."""

    async def delete_user(self, user_id: str, password_hash: str) -> bool:
        """Delete a user and all that is kept of them, if this is still their hash; else False.

        One document, so no crash leaves half of it. Prevents: the password is found right · its owner changes it,
        since somebody knows it · the account is deleted by who knew the old one.
        """


@runtime_checkable
class CountsBroken(Protocol):
    """A record that counts what it leaves out of lists: documents of other programs that do not fit their type."""

    @property
    def broken_documents(self) -> Mapping[tuple[str], int]:
        """How many by their kind, as `("snippet",)`, with every kind from the start. It is one object for ever."""
