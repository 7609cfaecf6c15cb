"""A look at the file of a record that makes, changes and upgrades nothing: opening it for use would."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from greenroom.findings import Finding, NotChecked, error, warning
from greenroom_platform.storage.sqlite.database import SCHEMA_VERSION
from greenroom_platform.storage.sqlite.triggers import triggers_missing

_WAIT = 2.0


def look_at_file(path: Path) -> Sequence[Finding]:
    """What is wrong with the file of a record; blocks.

    Raises:
        NotChecked: where there is no file yet, or one that the next start of a service has to upgrade first.
    """
    if not path.exists():
        raise NotChecked(f"there is no record at {path} yet: the first `greenroom serve` makes it")
    try:
        with closing(
            sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro", uri=True, timeout=_WAIT)
        ) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            ours = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'outbox'").fetchone() is not None
            missing = ours and version == SCHEMA_VERSION and triggers_missing(connection)
    except sqlite3.Error as failure:
        what = f"{path} cannot be read: {failure}"
        mend = "correct its owner, or restore it: docs/operations.md, After a restore"
        return (error("record_unreadable", what, "nothing is answered that is not cached", mend),)
    if not ours or version > SCHEMA_VERSION:
        what = f"{path} is not a record that this program knows (version {version}, and it knows {SCHEMA_VERSION})"
        mend = "choose a Greenroom database with --database-url, or a newer Greenroom"
        return (error("record_unknown", what, "no service starts on it", mend),)
    if version < SCHEMA_VERSION:
        raise NotChecked(f"{path} is of version {version}: the next start of a service makes it {SCHEMA_VERSION}")
    if missing:
        what = f"{path} lacks triggers that tell of changes made outside"
        why = "what another program changes is served from the caches until it expires"
        mend = "start a service: it makes them; then `greenroom drop all`"
        return (warning("record_untold", what, why, mend),)
    return ()
