"""The sessions of listeners: what they hold, and what a new one begins with."""

from __future__ import annotations

from greenroom.sessions import SessionSettings
from greenroom_platform.definitions import SESSIONS
from greenroom_platform.domain import preferences

SESSION_SETTINGS = SessionSettings(SESSIONS, new={"preferences": preferences.DEFAULTS})
