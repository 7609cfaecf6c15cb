"""`greenroom definitions`: the platform's keyspaces, and what writers in other languages must know."""

from __future__ import annotations

from typing import Any

from greenroom.keyspace import docgen, other_writers
from greenroom.keyspace.json_schema import json_schemas, key_format
from greenroom.keyspace.parts import PART_MAX
from greenroom.keyspace.registry import Keyspaces
from greenroom_platform.definitions import (
    DEFINITIONS,
    OURS,
    PAGE_NUMBERS,
    PAGE_SIZE,
    SEARCH_EPOCH,
    SESSION_TOUCH_INTERVAL,
    SESSIONS,
    SNIPPET,
    SNIPPET_PAGE,
    SNIPPET_PAGES,
)

KEYSPACES = Keyspaces(
    *(one for one in DEFINITIONS if one is not SESSIONS),
    *OURS,
    sessions=SESSIONS,
    groups={SNIPPET_PAGES: SNIPPET_PAGE},
    titles={"Topic": "TopicObject", "Snippet": "SnippetDataObject"},  # the specification's names of our types
)
"""Every keyspace of the specification, and ours beside them."""

_HEAD = """# Key-Value Store Definitions

Provides fast access to frequently used data, user session information, and caches. Printed by `greenroom definitions`
from the declarations that the programs run on.

---

"""
_VALUES = f"""- **Values are pure JSON**, exactly the members above: no envelope, no version, no placeholder. An
  optional member that is absent is left out, never `null`. Members that this document does not name survive a change
  of a session.
- **Timestamps** are RFC 3339 in UTC, written with `Z` and at most microseconds; any RFC 3339 offset is read.
- **A key part** is 1 to {PART_MAX} characters of `A-Z a-z 0-9 . _ ~ -`; a page number is {PAGE_NUMBERS.min} to
  {PAGE_NUMBERS.max:,}, without leading zeros. Anything else is refused before a key is built.
- **Lists are ordered**: topics by `display_name`, then id; snippets by `generation_timestamp` descending, then id. A
  page holds {PAGE_SIZE}."""


def document(keyspaces: Keyspaces) -> str:
    """The whole document, of the specification's keyspaces with their prefix."""
    snippet, epoch = (
        next(one for one in keyspaces if one.name == keyspace.name) for keyspace in (SNIPPET, SEARCH_EPOCH)
    )
    return other_writers.document(
        keyspaces,
        head=_HEAD,
        values=_VALUES,
        stale=f"A changed snippet makes stale\n  its own key `{key_format(snippet)}`, and every page of its topic"
        "\n  (of both topics, if it moved). Whatever changes a topic or snippet makes "
        f"`{key_format(epoch)}` stale.",
        sessions=f"`last_activity_timestamp` is up to\n  {docgen.duration(SESSION_TOUCH_INTERVAL)} old.",
    )


def definitions_schemas(prefix: str = "") -> dict[str, Any]:
    """The JSON Schemas of every keyspace's values."""
    return json_schemas(KEYSPACES.prefixed(prefix))
