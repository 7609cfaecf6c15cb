"""Search on SQLite: FTS5 tables of the words of topics and snippets, which triggers keep.

Whoever writes a topic or snippet, we or another program, changes its words in the same transaction. The program that
writes needs FTS5 for it, which SQLite's own builds have. A document that is no JSON has no words.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from greenroom_platform.domain.searching import WORD_LENGTH

CANDIDATES = 1000
"""Matches of one search that are put in order: of more, those that were changed last. Prevents: somebody looks for `th`
again and again · each time the whole record is read and sorted."""


class _Searched(NamedTuple):
    kind: str
    table: str
    id: str
    title: tuple[str, ...]
    body: tuple[str, ...]


_ALL = (
    _Searched("topic", "topics", "topic_id", ("display_name",), ("description", "keywords")),
    _Searched("snippet", "snippets", "snippet_id", ("title",), ("text_content",)),
)


def matching(words: Sequence[str], *, in_title: bool) -> str:
    """The query of FTS5 for all words, the last of which may be the beginning of one.

    Each is quoted, and has letters and digits alone: what somebody types is never a part of the query's grammar.
    """
    last = len(words) - 1
    each = (f'"{word}"{" *" if n == last or len(word) >= WORD_LENGTH else ""}' for n, word in enumerate(words))
    query = " AND ".join(each)
    return f"{{title}} : ({query})" if in_title else query


def found_by(kind: str) -> str:
    """The rows of a table that a query finds, to be continued with an order; takes that query."""
    (one,) = (one for one in _ALL if one.kind == kind)
    some = f"SELECT rowid AS number FROM {kind}_words WHERE {kind}_words MATCH ? ORDER BY rowid DESC LIMIT {CANDIDATES}"  # noqa: S608
    return f"({some}) JOIN searched USING (number) JOIN {one.table} ON {one.id} = searched.id"


def search_triggers() -> list[str]:
    """The statements that make what is missing of tables and triggers."""
    statements = [
        # The words are a copy of the text, since the tables that they are of have no numbers.
        "CREATE TABLE IF NOT EXISTS searched (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL,"
        " UNIQUE (kind, id))"
    ]
    for one in _ALL:
        # Without the index of beginnings `th*` merges all that begins so, before any of it is told.
        fts = "fts5 (title, body, tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3')"
        statements.append(f"CREATE VIRTUAL TABLE IF NOT EXISTS {one.kind}_words USING {fts}")
    gone = " ".join(f"DELETE FROM {one.kind}_words WHERE rowid = OLD.number;" for one in _ALL)  # noqa: S608
    statements.append(f"CREATE TRIGGER IF NOT EXISTS searched_gone AFTER DELETE ON searched BEGIN {gone} END")
    for one in _ALL:
        # INSERT OR REPLACE and UPDATE OR REPLACE delete what they replace without a word to the trigger of deletions:
        # whoever comes takes away what stands under its id.
        forget = f"DELETE FROM searched WHERE kind = '{one.kind}' AND id IN"  # noqa: S608
        keep = (
            f"INSERT INTO searched (kind, id) VALUES ('{one.kind}', NEW.{one.id});"  # noqa: S608
            f" INSERT INTO {one.kind}_words (rowid, title, body)"
            f" SELECT number, {_text('NEW.document', one.title)}, {_text('NEW.document', one.body)}"
            f" FROM searched WHERE kind = '{one.kind}' AND id = NEW.{one.id};"
        )
        for event, body in (
            ("INSERT", f"{forget} (NEW.{one.id}); {keep}"),
            ("UPDATE", f"{forget} (OLD.{one.id}, NEW.{one.id}); {keep}"),
            ("DELETE", f"{forget} (OLD.{one.id});"),
        ):
            name = f"searched_{one.kind}_{event.lower()}"
            statements.append(f"CREATE TRIGGER IF NOT EXISTS {name} AFTER {event} ON {one.table} BEGIN {body} END")
    return statements


def mend_words(connection: sqlite3.Connection) -> None:
    """Make the words those of what is stored, where triggers were gone, or never there; writes only what differs."""
    for one in _ALL:
        title, body = _text("document", one.title), _text("document", one.body)
        words, kind = f"{one.kind}_words", one.kind
        same = f"SELECT 1 FROM {one.table} JOIN {words} ON {words}.rowid = number"  # noqa: S608
        connection.execute(
            f"DELETE FROM searched WHERE kind = '{kind}' AND NOT EXISTS"  # noqa: S608
            f" ({same} WHERE {one.id} = id AND title IS {title} AND body IS {body})"
        )
        connection.execute(
            f"INSERT INTO searched (kind, id) SELECT '{kind}', {one.id} FROM {one.table}"  # noqa: S608
            f" WHERE {one.id} NOT IN (SELECT id FROM searched WHERE kind = '{kind}')"
        )
        connection.execute(
            f"INSERT INTO {words} (rowid, title, body) SELECT number, {title}, {body}"  # noqa: S608
            f" FROM searched JOIN {one.table} ON {one.id} = id"
            f" WHERE kind = '{kind}' AND number NOT IN (SELECT rowid FROM {words})"
        )


def _text(document: str, members: Sequence[str]) -> str:
    each = (f"coalesce(json_extract({document}, '$.{member}'), '')" for member in members)
    return f"CASE WHEN json_valid({document}) THEN {' || char(10) || '.join(each)} END"
