"""The embedded record: SQLite."""
