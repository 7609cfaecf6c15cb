"""What the platform declares of itself to the library: its keyspaces, groups, sessions, and what counts attempts.

The library's commands find it by the entry point `greenroom.declarations`.
"""

from __future__ import annotations

from greenroom.acl import Declarations
from greenroom_platform import accounts
from greenroom_platform.cli.options import read_settings
from greenroom_platform.definitions import DEFINITIONS, SESSIONS, SNIPPET_PAGES
from greenroom_platform.definitions_document import definitions_markdown, definitions_schemas
from greenroom_platform.domain.leadership import LEAD

DECLARATIONS = Declarations(
    caches=tuple(keyspace for keyspace in DEFINITIONS if keyspace is not SESSIONS),
    groups=(SNIPPET_PAGES,),
    sessions=SESSIONS,
    beside_sessions=(("active", "podcasts"), ("listeners", "podcast:*"), ("attempts", "*")),
    scripts=accounts.SCRIPTS,
    commands=frozenset({"del"}),
    beside_caches=(("leader", "changes"), ("leader:changes", "*"), ("identity", "caches")),
    cache_scripts=(LEAD,),
    prefix=lambda flag: read_settings({"key_prefix": flag}).key_prefix,
    markdown=definitions_markdown,
    schemas=definitions_schemas,
    flags={"data_dir": "--data-dir", "database": "--database-url", "recordings_url": "--recordings-url"},
)
"""The keyspaces of the specification, and beside sessions: presence, and attempts to sign in.
Beside caches: who watches for changes made outside, and which caches they are."""
