"""The specification as code: every keyspace of the platform, declared once.

From here come the keys, the codecs, the lifetimes, the Markdown and JSON Schemas of `greenroom definitions`, and the
caches of a room. `docs/specification.md` is the text that this file follows, section by section.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from greenroom.keyspace import Keyspace, Number, Text
from greenroom_platform.models import Found, PodcastStatus, Session, Snippet, Topic

PAGE_SIZE = 20
"""Snippets on a page."""

PAGE_NUMBERS = Number(1, 10_000)

SESSION_IDLE = timedelta(minutes=30)
SESSION_TOUCH_INTERVAL = timedelta(minutes=1)

# 1. User session state -------------------------------------------------------------------------

SESSIONS = Keyspace(
    "session:{session_id}",
    Session,
    ttl=SESSION_IDLE + SESSION_TOUCH_INTERVAL,
    jitter=0,
    name="session",
    title="User Session State",
    purpose="The preferences of a visitor, the count of active sessions, the state of WebSocket connections.",
    source="the service",
    note="Sliding: the idle limit of 30 minutes and a touch interval of 1 minute, extended on activity. An anonymous "
    "session lives 2 minutes until its first activity after it has begun.",
)

# 2. Topic cache --------------------------------------------------------------------------------

TOPIC = Keyspace(
    "cache:topic:{topic_id}",
    Topic,
    ttl=timedelta(hours=1),
    name="topic",
    title="Topic Cache: one topic",
    purpose="Answers for one topic without a read of the record.",
    source="system of record",
)

TOPICS = Keyspace(
    "cache:topics:all",
    tuple[Topic, ...],
    ttl=timedelta(hours=6),
    limit=8_000_000,
    name="topics",
    title="Topic Cache: all topics",
    purpose="The list of every topic, by display name and then id; there is no ranking by popularity.",
    source="system of record",
)

# 3. Snippet cache ------------------------------------------------------------------------------

SNIPPET = Keyspace(
    "cache:snippet:{snippet_id}",
    Snippet,
    ttl=timedelta(minutes=30),
    fresh=timedelta(minutes=15),
    name="snippet",
    title="Snippet Cache: one snippet",
    purpose="Answers for one snippet without a read of the record.",
    source="system of record",
)

SNIPPET_PAGE = Keyspace(
    "cache:snippets:topic:{topic_id}:page:{page_number}",
    tuple[Snippet, ...],
    ttl=timedelta(minutes=30),
    fresh=timedelta(minutes=15),
    parts={"page_number": PAGE_NUMBERS},
    name="snippet_page",
    title="Snippet Cache: a page of a topic",
    purpose="The results of GET /api/v1/snippets: the newest first, then by id, 20 on a page.",
    source="system of record",
)

SNIPPET_PAGES = "snippet_pages:{topic_id}"
"""The group of all cached pages of a topic."""

# 4. Podcast generation status cache ------------------------------------------------------------

PODCAST_STATUS = Keyspace(
    "cache:podcast_status:{podcast_id}",
    PodcastStatus,
    ttl=timedelta(minutes=5),
    fresh=timedelta(minutes=1),
    name="podcast_status",
    title="Podcast Generation Status Cache",
    purpose="Quick answers to polls of a status_url, without a read of AgentTaskState.",
    source="system of record (AgentTaskState)",
    note="Dropped at every change of status.",
)

DEFINITIONS: tuple[Keyspace[Any], ...] = (SESSIONS, TOPIC, TOPICS, SNIPPET, SNIPPET_PAGE, PODCAST_STATUS)
"""Every keyspace of the specification, in its order."""

# Ours, which the specification does not name ---------------------------------------------------

SEARCH_LIMIT = Number(1, 20)

# docs/decisions/0104-each-change-begins-a-new-epoch-of-searches.md
SEARCH_EPOCH = Keyspace(
    "cache:search_epoch",
    str,
    ttl=timedelta(hours=1),
    name="search_epoch",
    title="Search Cache: the epoch",
    purpose="Which results of searches count: those under its value, which is another after each change.",
    source="the service, at random",
    note="Dropped at every change of a topic or snippet.",
)

SEARCH = Keyspace(
    "cache:search:{epoch}:{limit}:{words}",
    Found,
    ttl=timedelta(minutes=1),
    parts={"limit": SEARCH_LIMIT, "words": Text()},
    name="search",
    title="Search Cache: one search",
    purpose="The results of GET /api/v1/search.",
    source="system of record",
    note="`words` are those that were typed, in lower case, without accents, with one space between two.",
)

OURS: tuple[Keyspace[Any], ...] = (SEARCH_EPOCH, SEARCH)
"""Keyspaces of ours beside those of the specification."""
