"""The outbox of SQLite: what a transaction made stale, written in the transaction itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

import msgspec

from greenroom_platform.definitions import PAGE_NUMBERS, PAGE_SIZE
from greenroom_platform.domain.records import Change
from greenroom_platform.storage.broken import log_unreadable


def record_change(
    connection: sqlite3.Connection,
    now: float,
    *,
    topics: Iterable[str] = (),
    snippets: Iterable[str] = (),
    pages: Mapping[str, int] | None = None,
    statuses: Iterable[str] = (),
) -> Change:
    """Write the outbox row of the current transaction; `now` is in seconds since 1970."""
    change = Change(
        change_id=0,
        topics=tuple(topics),
        snippets=tuple(snippets),
        pages=tuple(sorted((pages or {}).items())),
        statuses=tuple(statuses),
    )
    row = (now, msgspec.json.encode(change).decode())
    cursor = connection.execute("INSERT INTO outbox (committed, change) VALUES (?, ?)", row)
    assert cursor.lastrowid is not None
    return msgspec.structs.replace(change, change_id=cursor.lastrowid)


def pending_changes(
    connection: sqlite3.Connection, now: float, *, older_than: float, after: int, limit: int, logged: set[int]
) -> tuple[Change, ...]:
    """Changes not yet acknowledged, by their ids; see `Records.pending`.

    Arguments:
        logged: rows that the log has said cannot be read; they are asked for every second.
    """
    # A row from the future is one from before the machine's clock was set back: it has waited long enough.
    # As bytes: text that is no UTF-8 would make the whole query fail.
    query = (
        "SELECT change_id, CAST(change AS BLOB) FROM outbox WHERE change_id > ? AND (committed <= ? OR committed > ?)"
    )
    changes: list[Change] = []
    while not changes:
        rows = connection.execute(
            f"{query} ORDER BY change_id LIMIT ?", (after, now - older_than, now, limit)
        ).fetchall()
        if not rows:
            break
        for number, text in rows:
            try:
                change = msgspec.json.decode(text, type=Change)
            except (msgspec.DecodeError, UnicodeDecodeError, TypeError) as error:
                log_unreadable(number, error, logged)
            else:
                changes.append(msgspec.structs.replace(change, change_id=number))
        after = rows[-1][0]
    return tuple(changes)


def page_ends(
    connection: sqlite3.Connection,
    topics: Iterable[str],
    *,
    least: Mapping[str, int] | None = None,
    gone: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """For each topic the number up to which its pages are to be dropped: its last page plus one, at least `least`.

    Arguments:
        gone: how many snippets it may have had besides.
    """
    ends = {}
    for topic_id in topics:
        (count,) = connection.execute("SELECT count(*) FROM snippets WHERE topic_id = ?", (topic_id,)).fetchone()
        count += (gone or {}).get(topic_id, 0)
        end = min(-(-count // PAGE_SIZE) + 1, PAGE_NUMBERS.max)
        ends[topic_id] = max(end, (least or {}).get(topic_id, 1))
    return ends
