"""The triggers of the record: they leave a row for each change made outside, and keep the words of a search.

Our own changes are kept out of those rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from importlib.resources import files

from greenroom_platform.storage.sqlite.search import mend_words, search_triggers

_FILES = files("greenroom_platform.storage.sqlite")
_TABLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name ="
_LOG = f"{_TABLE} 'foreign_changes'"


# docs/decisions/0083-own-transactions-delete-their-trigger-rows.md
@contextmanager
def own_changes_left_out(connection: sqlite3.Connection) -> Iterator[None]:
    """Around what a transaction of ours writes: its triggers' rows go, since its outbox row says it already.

    Every row that came since the transaction began is its own: it holds the only writer's place.
    """
    if connection.execute(_LOG).fetchone() is None:
        restore_triggers(connection)  # or no change could be made until somebody watches
    first, last = connection.execute("SELECT min(number), coalesce(max(number), 0) FROM foreign_changes").fetchone()
    yield
    # A large change of ours may have had its rows replaced by one of the kind `many`: that tells of others' only where
    # some of theirs waited before it.
    kept = "('lost')" if first is None else "('lost', 'many')"
    connection.execute(f"DELETE FROM foreign_changes WHERE number > ? AND kind NOT IN {kept}", (last,))  # noqa: S608


def make_triggers(connection: sqlite3.Connection) -> None:
    """Make what is missing of the log and its triggers."""
    for statement in _statements():
        connection.execute(statement)
    row = connection.execute("PRAGMA schema_version").fetchone()
    connection.execute("INSERT OR REPLACE INTO foreign_changes_schema (one, version) VALUES (1, ?)", row)


def restore_triggers(connection: sqlite3.Connection) -> None:
    """As `make_triggers`, and anew what is another; where any was, say that what was written before is not known."""
    if not triggers_missing(connection):
        return
    log_is_new = connection.execute(_LOG).fetchone() is None
    for name, (table, script) in _expected().items():
        present = _present(connection).get(name)
        if present is not None and present != (table, script):
            connection.execute(f"DROP TRIGGER {name}")
    make_triggers(connection)
    mend_words(connection)
    if log_is_new:
        # Its numbers would begin at 1 again. Prevents: a watcher has read row 500 · the table is dropped and made anew
        # · rows 1 to 9 are written · the watcher acknowledges all up to 500. So they go on from the time in µs.
        connection.execute(
            "INSERT INTO foreign_changes (number, kind)"
            " VALUES (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'lost')"
        )
    else:
        connection.execute("INSERT INTO foreign_changes (kind) VALUES ('lost')")


def triggers_missing(connection: sqlite3.Connection) -> bool:
    """Whether the log or any trigger is gone, or is another than ours, or the schema was changed since they were made.

    A name says nothing. Prevents: a table is renamed and kept, and a new one takes its place · its triggers have gone
    with the old one, under their names · nobody is told what is written to the new one.
    Nor does the text. Prevents: a migration fills a new table, which takes the old one's name and is given its triggers
    · they are as before, and nobody is told what was filled in. So any change of the schema counts.
    """
    present = _present(connection)
    return (
        any(present.get(name) != one for name, one in _expected().items())
        or connection.execute(_LOG).fetchone() is None
        or _schema_changed(connection)
    )


def _schema_changed(connection: sqlite3.Connection) -> bool:
    if connection.execute(f"{_TABLE} 'foreign_changes_schema'").fetchone() is None:
        return True
    seen = connection.execute("SELECT version FROM foreign_changes_schema").fetchone()
    return bool(seen != connection.execute("PRAGMA schema_version").fetchone())


@cache
def _expected() -> dict[str, tuple[str, str]]:
    """The triggers as SQLite keeps them, by their names: the table, and the text."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(_FILES.joinpath("schema.sql").read_text("utf-8"))
        make_triggers(connection)
        return _present(connection)


def _present(connection: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    rows = connection.execute("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'")
    return {name: (table, script) for name, table, script in rows}


@cache
def _statements() -> tuple[str, ...]:
    statements, statement = [], ""
    for line in _FILES.joinpath("triggers.sql").read_text("utf-8").splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            statements.append(statement)
            statement = ""
    return (*statements, *search_triggers())
