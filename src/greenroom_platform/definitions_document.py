"""`greenroom definitions`: the platform's keyspaces, and what writers in other languages must know."""

from __future__ import annotations

from typing import Any

from greenroom.keyspace import docgen
from greenroom.keyspace.derived_keys import absent_key, derived_key, lease_key
from greenroom.keyspace.lifetime import JITTER
from greenroom.keyspace.parts import PART_MAX
from greenroom_platform.definitions import (
    DEFINITIONS,
    PAGE_NUMBERS,
    PAGE_SIZE,
    SESSION_TOUCH_INTERVAL,
    SESSIONS,
    SNIPPET,
    TOPIC,
)

TITLES = {"Topic": "TopicObject", "Snippet": "SnippetDataObject"}
"""The specification's names of our types."""

_HEAD = """# Key-Value Store Definitions

Provides fast access to frequently used data, user session information, and caches. Printed by `greenroom definitions`
from the declarations that the programs run on.

---

"""


def definitions_markdown(prefix: str = "") -> str:
    """The whole document; `prefix` is put before every key.

    Raises:
        InvalidInput: for a prefix that is not valid.
    """
    keyspaces = [keyspace.prefixed(prefix) for keyspace in DEFINITIONS]
    return _HEAD + docgen.markdown(keyspaces, TITLES) + "\n---\n\n" + _for_other_writers(prefix)


def definitions_schemas(prefix: str = "") -> dict[str, Any]:
    """The JSON Schemas of every keyspace's values."""
    return docgen.json_schemas([keyspace.prefixed(prefix) for keyspace in DEFINITIONS], TITLES)


def _for_other_writers(prefix: str) -> str:
    topic, snippet, session = (docgen.key_format(one.prefixed(prefix)) for one in (TOPIC, SNIPPET, SESSIONS))
    lease, absent = lease_key(prefix, topic), absent_key(prefix, topic)
    generation = derived_key(prefix, "generation", prefix + TOPIC.pattern.text)
    mark = derived_key(prefix, "mark", topic)
    touched, life = (derived_key(prefix, use, session) for use in ("touched", "life"))
    return f"""## For writers in other languages

- **Values are pure JSON**, exactly the members above: no envelope, no version, no placeholder. An optional member that
  is absent is left out, never `null`. Members that this document does not name survive a change of a session.
- **Timestamps** are RFC 3339 in UTC, written with `Z` and at most microseconds; any RFC 3339 offset is read.
- **A key part** is 1 to {PART_MAX} characters of `A-Z a-z 0-9 . _ ~ -`; a page number is {PAGE_NUMBERS.min} to
  {PAGE_NUMBERS.max:,}, without leading zeros. Anything else is refused before a key is built.
- **Lists are ordered**: topics by `display_name`, then id; snippets by `generation_timestamp` descending, then id. A
  page holds {PAGE_SIZE}.
- **After each commit** to the record, drop what it made stale in *one* command, as
  `DEL {topic} {lease} {absent}`.
  Not the value alone: a load under way holds the lease, and would store the old value for its whole lifetime; and the
  deletion of a key that does not exist is seen by nobody who waits. A changed snippet makes stale its own key
  `{snippet}`, and every page of its topic (of both topics, if it moved).
- **A keyspace can be dropped whole**, by a number in
  `{generation}`. For its lifetime and a minute a value counts for this library
  only with that number in `{mark}`, which it writes itself. Other services see such a
  drop when the keys are deleted, as `greenroom drop` does; they need not know of the number.
- **Lifetimes**: a cached value has an expiry, at most the one above. One without is given it when it is met. Jitter
  only shortens, by at most {JITTER:.0%}.
- **Sessions**: `session_id` is the unpadded base64url of the SHA-256 of the token's ASCII characters. Change a session
  with `SET {session} <json> XX KEEPTTL` only; only this library begins sessions: one without its companion
  `{life}` is over. `last_activity_timestamp` is up to {docgen.duration(SESSION_TOUCH_INTERVAL)} old, and
  `{touched}` is there while it need not be renewed.
- **Bookkeeping** keys carry their key in braces, so that both are in one cluster slot. A key prefix stands before the
  bookkeeping key and again before the key inside its braces.
- **Eviction**: a server of caches may evict with a `volatile-*` policy only, since the lists of cached pages have no
  expiry; a server of sessions must not evict.
"""
