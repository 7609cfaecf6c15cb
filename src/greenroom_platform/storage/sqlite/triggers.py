"""The triggers that leave a row for each change made outside, and what keeps our own changes out of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

_SCRIPT = files("greenroom_platform.storage.sqlite").joinpath("triggers.sql").read_text("utf-8")
_IS_TRIGGER = "type = 'trigger' AND name LIKE 'foreign\\_%' ESCAPE '\\'"


# docs/decisions/0083-own-transactions-delete-their-trigger-rows.md
@contextmanager
def own_changes_left_out(connection: sqlite3.Connection) -> Iterator[None]:
    """Around what a transaction of ours writes: its triggers' rows go, since its outbox row says it already.

    Every row that came since the transaction began is its own: it holds the only writer's place.
    """
    (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM foreign_changes").fetchone()
    yield
    connection.execute("DELETE FROM foreign_changes WHERE number > ? AND kind <> 'lost'", (last,))


def make_triggers(connection: sqlite3.Connection) -> None:
    """Make what is missing of the log and its triggers."""
    statement = ""
    for line in _SCRIPT.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


def restore_triggers(connection: sqlite3.Connection) -> None:
    """As `make_triggers`; where any was missing, say that what was written before is not known."""
    if triggers_missing(connection):
        make_triggers(connection)
        connection.execute("INSERT INTO foreign_changes (kind) VALUES ('lost')")


def triggers_missing(connection: sqlite3.Connection) -> bool:
    """Whether any trigger is gone."""
    (count,) = connection.execute(f"SELECT count(*) FROM sqlite_master WHERE {_IS_TRIGGER}").fetchone()  # noqa: S608
    return bool(count < _SCRIPT.count("CREATE TRIGGER"))
