"""The record: SQLite as its default, MongoDB, loading NDJSON, the sample."""

from greenroom_platform.storage.mongodb.address import is_mongodb
from greenroom_platform.storage.ndjson import BadLine, LoadSummary, load
from greenroom_platform.storage.ndjson_export import exported
from greenroom_platform.storage.open import check_database, open_records, shown_database, sqlite_path
from greenroom_platform.storage.sample import load_sample
from greenroom_platform.storage.sqlite.records import SqliteRecords
from greenroom_platform.storage.sqlite.tasks import SqliteTasks
from greenroom_platform.storage.sqlite.users import SqliteUsers

__all__ = [
    "BadLine",
    "LoadSummary",
    "SqliteRecords",
    "SqliteTasks",
    "SqliteUsers",
    "check_database",
    "exported",
    "is_mongodb",
    "load",
    "load_sample",
    "open_records",
    "shown_database",
    "sqlite_path",
]
