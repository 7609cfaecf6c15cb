"""The record: SQLite as its default, loading NDJSON, the sample."""

from greenroom_platform.storage.ndjson import BadLine, Loaded, load
from greenroom_platform.storage.open import open_records, sqlite_path
from greenroom_platform.storage.sample import load_sample
from greenroom_platform.storage.sqlite.records import SqliteRecords
from greenroom_platform.storage.sqlite.tasks import SqliteTasks
from greenroom_platform.storage.sqlite.users import SqliteUsers

__all__ = [
    "BadLine",
    "Loaded",
    "SqliteRecords",
    "SqliteTasks",
    "SqliteUsers",
    "load",
    "load_sample",
    "open_records",
    "sqlite_path",
]
