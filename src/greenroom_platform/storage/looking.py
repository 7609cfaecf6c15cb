"""A look at the record that changes nothing, whatever database it is on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from greenroom.extras import needs_extra
from greenroom.findings import Finding
from greenroom_platform.storage.mongodb.address import is_mongodb
from greenroom_platform.storage.open import sqlite_path
from greenroom_platform.storage.sqlite.looking import look_at_file


async def look_at_record(database: str | Path) -> Sequence[Finding]:
    """What is wrong with a record.

    Arguments:
        database: a path, `sqlite:PATH` or `mongodb://…/NAME`.

    Raises:
        NotChecked: where there is none yet, or one that a service has to upgrade first.
        MissingExtra: when the database's driver is not installed.
    """
    if not isinstance(database, Path) and is_mongodb(database):
        with needs_extra("mongodb", "the record on MongoDB"):
            from greenroom_platform.storage.mongodb.looking import look_at_database
        return await look_at_database(database)
    path = database if isinstance(database, Path) else sqlite_path(database)
    return await asyncio.to_thread(look_at_file, path)
