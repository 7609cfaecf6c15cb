"""Lines of a load that wait for their topic: in a temporary file, since there may be as many as the input has."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator

# An empty name is a temporary file, which SQLite deletes when it is closed; what fits is kept in memory.
_TEMPORARY = ""
_SCHEMA = "CREATE TABLE lines (place INTEGER PRIMARY KEY, id TEXT, source TEXT, number INTEGER, text BLOB)"

WaitingLine = tuple[str, int, bytes]
"""The name of its source, its number, and the line itself."""


# docs/decisions/0086-waiting-lines-lie-in-a-temporary-file.md
class WaitingLines:
    """The lines by the id of their snippet, in the order in which they came."""

    def __init__(self) -> None:
        self._file = sqlite3.connect(_TEMPORARY, isolation_level=None, check_same_thread=False)
        self._file.execute(_SCHEMA)
        self._file.execute("CREATE INDEX lines_by_id ON lines (id)")
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, lines: Iterable[tuple[str, WaitingLine]]) -> None:
        """Let lines wait, each with its id."""
        rows = [(id_, *line) for id_, line in lines]
        self._file.executemany("INSERT INTO lines (id, source, number, text) VALUES (?, ?, ?, ?)", rows)
        self._count += len(rows)

    def forget(self, ids: Iterable[str]) -> None:
        """Forget the lines of these ids."""
        if self._count:
            self._file.executemany("DELETE FROM lines WHERE id = ?", [(one,) for one in ids])
            (self._count,) = self._file.execute("SELECT count(*) FROM lines").fetchone()

    def take(self, limit: int) -> list[WaitingLine]:
        """The first lines, which do not wait any more."""
        rows = self._file.execute("SELECT place, source, number, text FROM lines ORDER BY place LIMIT ?", (limit,))
        lines = rows.fetchall()
        if lines:
            self._file.execute("DELETE FROM lines WHERE place <= ?", (lines[-1][0],))
            self._count -= len(lines)
        return [(source, number, text) for _, source, number, text in lines]

    def in_order(self) -> Iterator[WaitingLine]:
        """All of them, by source and number."""
        yield from self._file.execute("SELECT source, number, text FROM lines ORDER BY source, number")

    def close(self) -> None:
        """Delete the file."""
        self._file.close()
