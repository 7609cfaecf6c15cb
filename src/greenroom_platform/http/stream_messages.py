"""What a stream says in words, around the recording's clusters, and why it closes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

DONE, GOING_AWAY, FAILED_HERE, OVERLOAD, SESSION_OVER, UNKNOWN = 1000, 1001, 1011, 1013, 4401, 4404
"""The close codes of a stream: 1000, 1001, 1011 and 1013 are registered; 4401 and 4404 are ours, after HTTP."""
CLOSES: Mapping[int, str] = MappingProxyType(
    {
        DONE: "everything was sent, or an `error` has said what cannot be",
        GOING_AWAY: "the service restarts; connect again",
        FAILED_HERE: "something failed here; the log has it",
        OVERLOAD: "the service is overloaded, or a part of it does not answer; try again in a moment",
        SESSION_OVER: "the session has ended; sign in again, or reconnect with the new cookie",
        UNKNOWN: "there is no such podcast",
    }
)
"""What each means to a client."""


class StreamStart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="stream_start"):
    """The first message of a podcast that is known; `mime` is for `MediaSource.addSourceBuffer`."""

    podcast_id: str
    mime: str


class StreamEnd(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="stream_end"):
    """The last message: the recording is whole, and all of it was sent."""


class StreamError(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """The last message: what went wrong, in words for the listener."""

    detail: str
