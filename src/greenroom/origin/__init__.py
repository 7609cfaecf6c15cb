"""The record: SQLite as its default, loading NDJSON, the sample."""
