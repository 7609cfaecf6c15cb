"""The record: SQLite as its default, loading NDJSON, the sample."""

from greenroom.origin.loading import BadLine, Loaded, load
from greenroom.origin.opening import open_records, sqlite_path
from greenroom.origin.sample import load_sample
from greenroom.origin.sqlite import SqliteRecords
from greenroom.origin.sqlite_tasks import SqliteTasks
from greenroom.origin.sqlite_users import SqliteUsers

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
