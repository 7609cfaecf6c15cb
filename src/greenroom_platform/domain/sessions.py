"""The sessions of listeners: what they hold, and what a new one begins with."""

from __future__ import annotations

from greenroom.sessions import SessionSettings, StreamNames
from greenroom_platform.definitions import SESSIONS
from greenroom_platform.domain import preferences

STREAMS = StreamNames(member="active_podcast_stream_id", content="podcast")
"""The specification's member of a session, and the word in the keys of listeners."""
SESSION_SETTINGS = SessionSettings(SESSIONS, new={"preferences": preferences.DEFAULTS}, streams=STREAMS)
