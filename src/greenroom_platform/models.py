"""The specification's objects: one definition for key, cache, record and API.

Frozen all the way down (tuples, not lists), so that one decoded value may be shared by every caller of a process.
None can be part of a reference cycle, so the collector need not look at the thousands that a near cache holds.
Timestamps are RFC 3339 with any offset when read, and in UTC with `Z` wherever this project writes them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from greenroom.errors import InvalidInput
from greenroom.progress.order import Order

QUEUED = "queued"
SCRIPT_GENERATING = "script_generating"
AUDIO_RENDERING = "audio_rendering"
READY_TO_STREAM = "ready_to_stream"
ERROR = "error"

STATUSES = Order(QUEUED, SCRIPT_GENERATING, AUDIO_RENDERING, READY_TO_STREAM, failure=ERROR)
"""The statuses of a podcast's generation."""

Timestamp = Annotated[datetime, msgspec.Meta(tz=True)]


# docs/decisions/0033-models-are-outside-the-garbage-collector.md
class Topic(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A subject of snippets: `TopicObject` in docs/specification.md, section 2."""

    topic_id: str
    display_name: str
    description: str
    keywords: tuple[str, ...]
    created_at: Timestamp
    updated_at: Timestamp


class Snippet(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A short text on a topic, used to write podcasts: `SnippetDataObject` in docs/specification.md, section 3."""

    snippet_id: str
    topic_id: str
    title: str
    text_content: str
    cover_art_prompt: str | msgspec.UnsetType = msgspec.UNSET
    image_url: str | msgspec.UnsetType = msgspec.UNSET
    generation_timestamp: Timestamp


class Found(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a search has found, the best first."""

    topics: tuple[Topic, ...]
    snippets: tuple[Snippet, ...]


class Preferences(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a listener has chosen."""

    preferred_topics: tuple[str, ...] = ()
    playback_speed_default: float = 1.0


class Session(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The state of one visitor: docs/specification.md, section 1. Changes keep members that other programs add."""

    user_id: str | msgspec.UnsetType = msgspec.UNSET
    preferences: Preferences
    last_activity_timestamp: Timestamp
    active_podcast_stream_id: str | msgspec.UnsetType = msgspec.UNSET


class HeardPodcast(msgspec.Struct, frozen=True, kw_only=True):
    """One podcast of somebody's history.

    Arguments:
        listened_at: when it was listened to last.
        position_seconds: how far it was heard; left out where that is not known.
    """

    podcast_id: str
    listened_at: Timestamp
    position_seconds: float | msgspec.UnsetType = msgspec.UNSET


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who can sign in: a document of the record only, never in a key.

    Arguments:
        username: in lower case.
        password_hash: Argon2id's own text, with its parameters and salt.
        preferences: each as it was set last, in whichever session, with members that we do not know.
        preferences_set_at: when each was set, by the clock of the sessions' server.
        history: what was listened to, the latest first, each podcast once.
        feed_hash: of the secret in the address of the user's feed, where there is one.
    """

    user_id: str
    username: str
    password_hash: str
    preferences: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    preferences_set_at: dict[str, Timestamp] | msgspec.UnsetType = msgspec.UNSET
    history: tuple[HeardPodcast, ...] | msgspec.UnsetType = msgspec.UNSET
    feed_hash: str | msgspec.UnsetType = msgspec.UNSET
    created_at: Timestamp

    def __repr__(self) -> str:
        return f"User(user_id={self.user_id!r})"


class PodcastStatus(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The progress of a podcast's generation: docs/specification.md, section 4."""

    podcast_id: str
    status: str
    estimated_completion_time: Timestamp | msgspec.UnsetType = msgspec.UNSET
    error_message: str | msgspec.UnsetType = msgspec.UNSET


class PodcastTask(msgspec.Struct, frozen=True, kw_only=True):
    """The generation of a podcast: `AgentTaskState` in docs/specification.md, section 4. Stored in the record only.

    Arguments:
        status: one of `STATUSES`; the furthest that was ever shown.
        estimated_completion_time: when the worker expects to be done; never with a terminal status.
        error_message: for listeners, with the status "error" only.
        updated_at: when what is shown of it last changed.
        progress: the share of the work that is done, 0 to 1, as the worker last told.
        attempts: claims that count against the number allowed.
        claim: the number of the last claim, from 1; a higher one makes every earlier one void.
        worker: who has the claim; only while somebody has.
        claimed_until: when the claim lapses; only while somebody has it.
        retry_at: until when nobody claims it; only after an attempt that has failed.
    """

    podcast_id: str
    topic_id: str
    status: str
    estimated_completion_time: Timestamp | msgspec.UnsetType = msgspec.UNSET
    error_message: str | msgspec.UnsetType = msgspec.UNSET
    created_at: Timestamp
    updated_at: Timestamp
    progress: float = 0.0
    attempts: int = 0
    claim: int = 0
    worker: str | msgspec.UnsetType = msgspec.UNSET
    claimed_until: Timestamp | msgspec.UnsetType = msgspec.UNSET
    retry_at: Timestamp | msgspec.UnsetType = msgspec.UNSET

    @property
    def shown(self) -> PodcastStatus:
        """What listeners see of it."""
        return PodcastStatus(
            podcast_id=self.podcast_id,
            status=self.status,
            estimated_completion_time=self.estimated_completion_time,
            error_message=self.error_message,
        )


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC: what is written carries `Z`, whatever offset was read."""
    return moment.astimezone(UTC)


def given_in_utc(name: str, moment: datetime) -> datetime:
    """A moment that somebody has given, in UTC.

    Raises:
        InvalidInput: naming it, where its offset puts it outside of the years that there are.
    """
    try:
        return in_utc(moment)
    except OverflowError:
        raise InvalidInput(name, "is not in the years 1 to 9999 in UTC", "correct the timestamp") from None
