"""What the platform declares of itself to the library: its keyspaces, groups, sessions, and what counts attempts.

The library's commands find it by the entry point `greenroom.declarations`.
"""

from __future__ import annotations

from greenroom.declarations import Declarations
from greenroom.rate_limit import COUNTED
from greenroom_platform import accounts
from greenroom_platform.cli.deployment import SETTINGS, deploy
from greenroom_platform.cli.options import read_settings
from greenroom_platform.definitions_document import KEYSPACES, document
from greenroom_platform.domain import heartbeats
from greenroom_platform.domain.leadership import LEAD

DECLARATIONS = Declarations(
    KEYSPACES,
    beside_sessions=(("active", "podcasts"), ("listeners", "podcast:*"), COUNTED),
    scripts=accounts.SCRIPTS,
    commands=frozenset({"del"}),
    beside_caches=(("leader", "changes"), ("leader:changes", "*"), ("identity", "caches"), heartbeats.SET),
    cache_scripts=(LEAD, *heartbeats.SCRIPTS),
    prefix=lambda flag: read_settings({"key_prefix": flag}).key_prefix,
    markdown=document,
    flags={"data_dir": "--data-dir", "database": "--database-url", "recordings_url": "--recordings-url"},
    settings=SETTINGS,
    deployment=deploy,
)
"""The keyspaces of the specification, and beside sessions: presence, and attempts to sign in.
Beside caches: who watches for changes made outside, which caches they are, and which processes are alive."""
