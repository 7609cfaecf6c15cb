"""The outbox of SQLAlchemy on a real database and a real server: nothing that was committed stays stale."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, event, insert, select, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker
from sqlalchemy.orm import Session

from greenroom import Greenroom
from greenroom.caching.outbox_drops import OutboxDrops
from greenroom.errors import InvalidInput, RecordOutcomeUnknown, RoomClosed, RoomNotOpen
from greenroom.integrations.sqlalchemy import SqlOutbox
from tests.support.outbox_items import ITEM, PAGE, Item, Process, async_engine, made, plain_engine, process, running
from tests.support.patience import until
from tests.support.real_servers import Server


@pytest.fixture
def database(tmp_path: Path) -> Path:
    made(tmp_path)
    return tmp_path


@pytest.fixture
async def writer(valkey: Server, database: Path) -> AsyncIterator[Process]:
    async with running(valkey.address, database) as one:
        yield one


@pytest.fixture
async def reader(valkey: Server, database: Path) -> AsyncIterator[Process]:
    async with running(valkey.address, database) as one:
        yield one


def rename(name: str) -> Any:
    return update(Item).where(Item.number == 1).values(name=name)


async def emptied(one: Process) -> None:
    """Return when the outbox is empty."""
    async with asyncio.timeout(30):
        while await one.rows():
            await asyncio.sleep(0.001)


async def leave(one: Process, *stale: Any, name: str = "new") -> None:
    """Commit a change whose process then does nothing more, as one that is killed."""
    async with AsyncSession(one.engine) as session:
        await session.execute(rename(name))
        await session.execute(one.outbox.entry(*stale))
        await session.commit()


# A transaction ----------------------------------------------------------------------------------


async def by_async_session(one: Process) -> None:
    async with AsyncSession(one.engine) as session, one.outbox.transaction(session, one.item.of(1)):
        item = await session.get_one(Item, 1)
        item.name = "new"


async def by_async_connection(one: Process) -> None:
    async with one.engine.connect() as connection, one.outbox.transaction(connection, one.item.of(1)):
        await connection.execute(rename("new"))


async def by_session(one: Process) -> None:
    def work() -> None:
        engine = plain_engine(Path(one.engine.url.database or "").parent)
        with Session(engine) as session, one.outbox.transaction(session, one.item.of(1)):
            session.get_one(Item, 1).name = "new"
        engine.dispose()

    await asyncio.to_thread(work)


async def by_connection(one: Process) -> None:
    def work() -> None:
        engine = plain_engine(Path(one.engine.url.database or "").parent)
        with engine.connect() as connection, one.outbox.transaction(connection, one.item.of(1)):
            connection.execute(rename("new"))
        engine.dispose()

    await asyncio.to_thread(work)


KINDS = [by_async_session, by_async_connection, by_session, by_connection]


@pytest.mark.parametrize("change", KINDS)
async def test_a_transaction_is_committed_and_dropped_when_it_returns(
    writer: Process, reader: Process, change: Callable[[Process], Awaitable[None]]
) -> None:
    assert [await one.item.get(1) for one in (writer, reader)] == ["old", "old"]
    await change(writer)
    assert await writer.item.get(1) == "new"
    await until(lambda: reader.item.peek(1) != "old")
    assert await reader.item.get(1) == "new"
    await emptied(writer)


async def test_its_row_is_written_in_the_transaction_itself(writer: Process) -> None:
    seen: list[Any] = []

    @event.listens_for(writer.engine.sync_engine, "commit")
    def committing(connection: Any) -> None:
        seen.extend(connection.execute(select(writer.outbox.table.c.stale)).scalars())

    await by_async_session(writer)
    assert seen[0] == '{"keys":["item:1"]}'


async def test_an_error_rolls_back_drops_nothing_and_leaves_no_row(writer: Process) -> None:
    await writer.item.get(1)
    async with AsyncSession(writer.engine) as session:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            async with writer.outbox.transaction(session, writer.item.of(1)):
                await session.execute(rename("new"))
                raise ZeroDivisionError
    assert writer.item.peek(1) == "old"
    assert not await writer.rows()
    assert await writer.item.load(1) == "old"


async def test_what_the_database_refuses_is_raised_as_it_is(writer: Process) -> None:
    await writer.item.get(1)
    async with AsyncSession(writer.engine, autoflush=False) as session:
        with pytest.raises(IntegrityError):
            async with writer.outbox.transaction(session, writer.item.of(1)):
                session.add(Item(number=1, name="double"))
        assert (await session.get_one(Item, 1)).name == "old"
    assert writer.item.peek(1) == "old"
    assert not await writer.rows()


async def test_a_transaction_that_has_begun_is_joined(writer: Process) -> None:
    async with AsyncSession(writer.engine) as session:
        item = await session.get_one(Item, 1)
        async with writer.outbox.transaction(session) as change:
            item.name = "new"
            change.add(writer.item.of(1))
        assert not session.in_transaction()
    assert await writer.item.get(1) == "new"


async def test_groups_and_keyspaces_are_dropped_too(writer: Process) -> None:
    assert await writer.page.get("o", 1) == [1]
    assert await writer.page.get("n", 1) == []
    async with AsyncSession(writer.engine) as session:
        async with writer.outbox.transaction(session, writer.page.group("o"), writer.page.group("n")):
            await session.execute(rename("new"))
        assert [await writer.page.get("o", 1), await writer.page.get("n", 1)] == [[], [1]]
        async with writer.outbox.transaction(session, PAGE):
            await session.execute(rename("old"))
    assert [await writer.page.get("o", 1), await writer.page.get("n", 1)] == [[1], []]


async def test_a_transaction_that_names_nothing_is_committed_without_a_row(writer: Process) -> None:
    async with AsyncSession(writer.engine) as session, writer.outbox.transaction(session):
        await session.execute(rename("new"))
    assert not await writer.rows()
    assert await writer.item.load(1) == "new"


@pytest.mark.parametrize("stored", [True, False])
async def test_where_the_commit_is_unknown_all_is_dropped_and_the_row_stays(
    reader: Process, valkey: Server, database: Path, stored: bool
) -> None:
    await reader.item.get(1)
    async with running(valkey.address, database) as writer, AsyncSession(writer.engine) as session:
        with pytest.raises(RecordOutcomeUnknown):  # noqa: PT012
            async with writer.outbox.transaction(session, writer.item.of(1)):
                await session.execute(rename("new"))

                @event.listens_for(writer.engine.sync_engine, "commit", once=True)
                def committing(connection: Any) -> None:
                    # The connection is lost: before the database has committed, or after.
                    lost = connection.connection.dbapi_connection
                    if stored:
                        lost.commit()
                    lost.run_async(lambda driver: driver._execute(driver._conn.close))

        await until(lambda: reader.item.peek(1) != "old")
        assert await reader.item.get(1) == ("new" if stored else "old")
    # What is stored only now, after the drop, would be heard of by its row; an outbox that closes deletes what it may.
    assert bool(await reader.rows()) is stored
    await reader.outbox.send()
    assert await reader.outbox.send() == stored


@pytest.mark.parametrize("kind", [by_async_session, by_async_connection])
async def test_who_is_cancelled_in_the_commit_has_changed_and_dropped_it(
    writer: Process, monkeypatch: pytest.MonkeyPatch, kind: Callable[[Process], Awaitable[None]]
) -> None:
    from sqlalchemy.ext.asyncio import AsyncConnection

    await writer.item.get(1)
    begun, go_on = asyncio.Event(), asyncio.Event()
    for class_ in (AsyncSession, AsyncConnection):
        real = class_.commit

        async def commit(self: Any, real: Any = real) -> None:
            begun.set()
            await go_on.wait()
            await real(self)

        monkeypatch.setattr(class_, "commit", commit)
    changing = asyncio.ensure_future(kind(writer))
    await begun.wait()
    changing.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await changing
    assert writer.item.peek(1) is None
    assert await writer.item.get(1) == "new"


async def test_a_commit_inside_the_block_is_an_error_and_drops_all(writer: Process) -> None:
    await writer.item.get(1)
    async with AsyncSession(writer.engine) as session:
        with pytest.raises(InvalidInput, match="committed or rolled back inside"):  # noqa: PT012
            async with writer.outbox.transaction(session, writer.item.of(1)):
                await session.execute(rename("new"))
                await session.commit()
        assert await writer.item.get(1) == "new"
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            async with writer.outbox.transaction(session, writer.item.of(1)):
                await session.execute(rename("newer"))
                await session.commit()
                raise ZeroDivisionError
    assert await writer.item.get(1) == "newer"


# What processes leave -----------------------------------------------------------------------------


async def test_what_a_process_leaves_is_sent_at_the_second_look(writer: Process, reader: Process) -> None:
    await reader.item.get(1)
    assert await reader.outbox.send() == 0
    await leave(writer, writer.item.of(1))
    assert await reader.outbox.send() == 0  # its own process may be about to drop it
    assert reader.item.peek(1) == "old"
    assert await reader.outbox.send() == 1
    assert reader.item.peek(1) is None
    assert await reader.item.get(1) == "new"
    assert not await reader.rows()


async def test_a_row_is_found_whatever_its_id_is(writer: Process, reader: Process) -> None:
    table = writer.outbox.table
    for id_ in ("f" * 32, "0" * 32, "8" * 32):
        await reader.item.get(1)
        async with writer.engine.begin() as connection:
            await connection.execute(insert(table).values(id=id_, room="main", stale='{"keys":["item:1"]}'))
        assert [await reader.outbox.send() for _ in range(2)] == [0, 1]
        assert reader.item.peek(1) is None


async def test_groups_and_keyspaces_that_were_left_are_sent_once_each(writer: Process, reader: Process) -> None:
    await reader.page.get("o", 1)
    await leave(writer, writer.page.group("o"), writer.page.group("n"))
    await leave(writer, writer.page.group("o"))
    assert await reader.outbox.send(everything=True) == 2
    assert await reader.page.get("o", 1) == []
    await leave(writer, PAGE, name="old")
    await leave(writer, PAGE, ITEM, name="old")
    assert await reader.outbox.send(everything=True) == 2
    assert await reader.page.get("o", 1) == [1]


async def test_an_opening_takes_over_what_was_left(writer: Process, valkey: Server, database: Path) -> None:
    await writer.item.get(1)
    await writer.page.get("o", 1)
    await leave(writer, writer.item.of(1), PAGE)
    async with running(valkey.address, database) as other:
        assert await other.item.get(1) == "new"
        assert await other.page.get("o", 1) == []
        await emptied(other)


class Held:
    """A call that goes on when it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        real, self.go_on = getattr(owner, name), asyncio.Event()

        async def held(*given: Any) -> None:
            await self.go_on.wait()
            await real(*given)

        monkeypatch.setattr(owner, name, held)


async def test_an_opening_counts_groups_that_were_left_as_dropped(
    writer: Process, valkey: Server, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await writer.page.get("o", 1) == [1]
    await leave(writer, writer.page.group("o"))
    drop = Held(monkeypatch, Greenroom, "drop_named_group")
    async with running(valkey.address, database) as other:
        assert await other.page.get("o", 1) == []
        drop.go_on.set()
        await emptied(other)
        assert not other.room.pending_drops.any


@pytest.mark.own_limits
async def test_an_opening_without_the_server_reads_no_group_that_was_left(
    writer: Process, valkey: Server, database: Path
) -> None:
    assert await writer.page.get("o", 1) == [1]
    await leave(writer, writer.page.group("o"))
    async with running(valkey.address, database) as other:
        with valkey.frozen():
            await until(lambda: not other.room.pending_drops.any)
            assert await other.page.get("o", 1) == []
        await other.room.ready()
        assert await other.page.get("o", 1) == []


async def test_groups_are_sent_before_keys_which_may_take_long(
    writer: Process, reader: Process, valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = valkey.raw()
    assert await reader.page.get("o", 1) == [1]
    await leave(writer, writer.item.of(1), writer.page.group("o"))
    keys = Held(monkeypatch, OutboxDrops, "send")
    sending = asyncio.ensure_future(reader.outbox.send(everything=True))
    await until(lambda: raw("EXISTS", "page:o:1") == 0)
    keys.go_on.set()
    assert await sending == 1


async def test_a_look_by_itself_sends_what_was_left(writer: Process, valkey: Server, database: Path) -> None:
    async with running(valkey.address, database, every=timedelta(milliseconds=5)) as other:
        await other.item.get(1)
        await leave(writer, writer.item.of(1))
        await emptied(writer)
        assert await other.item.get(1) == "new"


async def test_a_row_that_cannot_be_read_blocks_no_other_and_is_told_once(
    writer: Process, reader: Process, caplog: pytest.LogCaptureFixture
) -> None:
    bad = ["{", '{"keys":5}', '{"keys":["lease:{item:1}"]}', '{"keyspaces":["nobody:{x}"]}']
    async with writer.engine.begin() as connection:
        rows = [{"id": str(number), "room": "main", "stale": text} for number, text in enumerate(bad)]
        await connection.execute(insert(writer.outbox.table), rows)
    await reader.item.get(1)
    await leave(writer, writer.item.of(1))
    with caplog.at_level(logging.ERROR, "greenroom.outbox"):
        assert await reader.outbox.send(everything=True) == 1
        await reader.outbox.send(everything=True)
    assert [record.args[0] for record in caplog.records if record.args] == ["0", "1", "2", "3"]  # type: ignore[index]
    assert await reader.item.get(1) == "new"


async def test_each_room_has_a_row_of_its_own_and_keys_of_its_own(valkey: Server, database: Path) -> None:
    async with (
        running(valkey.address, database, name="one", also=["two"], prefix="one:") as one,
        running(valkey.address, database, name="two", prefix="two:") as two,
    ):
        assert [await process.item.get(1) for process in (one, two)] == ["old", "old"]
        async with AsyncSession(one.engine) as session, one.outbox.transaction(session, one.item.of(1)):
            await session.execute(rename("new"))
        async with asyncio.timeout(30):
            while "one" in await one.rows():
                await asyncio.sleep(0.001)
        assert await one.rows() == {"two": '{"keys":["item:1"]}'}
        assert two.item.peek(1) == "old"
        assert await two.outbox.send(everything=True) == 1
        assert await two.item.get(1) == "new"


async def test_without_the_server_a_change_is_made_and_dropped_later(writer: Process, valkey: Server) -> None:
    await writer.item.get(1)
    valkey.kill()
    await by_async_session(writer)
    assert await writer.item.get(1) == "new"
    assert await writer.rows()
    assert await writer.outbox.send(everything=True) == 0
    assert writer.outbox.unsent == 1
    valkey.start()
    await writer.room.ready()
    async with asyncio.timeout(30):
        while await writer.rows():
            await writer.outbox.send(everything=True)
    assert await writer.item.get(1) == "new"


async def test_a_process_that_does_not_open_it_leaves_its_rows(reader: Process, valkey: Server, database: Path) -> None:
    await reader.item.get(1)
    closed = process(valkey.address, database)
    await by_async_session(closed)
    await by_session(closed)
    await closed.engine.dispose()
    assert await reader.outbox.send(everything=True) == 2
    assert await reader.item.get(1) == "new"


async def test_a_change_of_more_names_than_a_row_takes_is_several_rows(writer: Process, reader: Process) -> None:
    await leave(writer, *(writer.item.of(number) for number in range(2500)))
    assert await reader.outbox.send(everything=True) == 3


async def test_a_database_that_is_away_ends_no_sending(
    writer: Process, valkey: Server, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(valkey.address, database, every=timedelta(milliseconds=5)) as other:
        await other.item.get(1)
        away = True

        @event.listens_for(other.engine.sync_engine, "before_cursor_execute")
        def executing(*_: object) -> None:
            if away:
                raise OperationalError("SELECT", {}, Exception("away"))

        with caplog.at_level(logging.WARNING, "greenroom.outbox"):
            await until(lambda: any("cannot be sent" in record.message for record in caplog.records))
            await leave(writer, writer.item.of(1))
            for _ in range(20):
                await asyncio.sleep(0.001)
        away = False
        await emptied(writer)
        assert sum("cannot be sent" in record.message for record in caplog.records) == 1


async def test_keys_pending_anew_without_a_row_are_sent_at_the_next_look(
    writer: Process, reader: Process, valkey: Server
) -> None:
    raw = valkey.raw()
    await reader.item.get(1)
    old = raw("GET", "item:1")
    await leave(writer, writer.item.of(1))
    assert await reader.outbox.send(everything=True) == 1
    # The server is restored from an older state, which costs all their connections.
    raw("SET", "item:1", old, "EX", 3600)
    raw("CLIENT", "KILL", "TYPE", "normal")
    await until(lambda: reader.room.pending_drops.any)
    await reader.room.ready()
    assert await reader.outbox.send() == 0  # no row is left
    assert raw("EXISTS", "item:1") == 0
    assert not reader.room.pending_drops.any
    assert await writer.item.get(1) == "new"


async def test_keys_of_a_row_that_another_has_sent_are_sent_here_too(
    writer: Process, reader: Process, valkey: Server
) -> None:
    await leave(writer, writer.item.of(1))
    valkey.kill()
    assert await reader.outbox.send(everything=True) == 0
    valkey.start()
    await writer.room.ready()
    await reader.room.ready()
    assert await writer.outbox.send(everything=True) == 1
    assert reader.room.pending_drops.any
    assert await reader.outbox.send() == 0
    assert not reader.room.pending_drops.any


async def test_a_failure_is_told_once_while_only_pending_keys_are_left(
    writer: Process, valkey: Server, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(valkey.address, database, every=timedelta(milliseconds=5)) as other:
        valkey.kill()
        await leave(writer, writer.item.of(1))
        await until(lambda: other.outbox.unsent == 1)
        async with writer.engine.begin() as connection:
            await connection.execute(delete(writer.outbox.table))  # another process has sent it
        await until(lambda: other.outbox.unsent == 0)
        looks = 0

        @event.listens_for(other.engine.sync_engine, "before_cursor_execute")
        def executing(*_: object) -> None:
            nonlocal looks
            looks += 1

        with caplog.at_level(logging.WARNING, "greenroom.outbox"):
            await until(lambda: looks >= 10)
        told = [record.message for record in caplog.records if "cannot be sent" in record.message]
        assert len(told) == len(set(told))
        assert other.room.pending_drops.any


# Arguments and openings ---------------------------------------------------------------------------


async def test_a_missing_table_is_an_error_that_names_the_remedy(valkey: Server, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"greenroom_outbox is not in the database; create it") as raised:
        async with running(valkey.address, tmp_path):
            pass
    assert raised.value.field == "table"


async def test_it_is_opened_after_its_room_once_and_again(valkey: Server, database: Path) -> None:
    one = process(valkey.address, database)
    with pytest.raises(RoomNotOpen):
        async with one.outbox:
            pass
    for _ in range(2):
        async with one.room, one.outbox:
            with pytest.raises(InvalidInput, match="open already"):
                async with one.outbox:
                    pass
            await by_async_session(one)
        with pytest.raises(RoomClosed, match="outbox is not open"):
            await one.outbox.send()
    await one.engine.dispose()


async def test_what_is_left_when_it_closes_is_deleted_or_stays(valkey: Server, database: Path) -> None:
    async with running(valkey.address, database) as one:
        await by_async_session(one)
    again = process(valkey.address, database)
    assert not await again.rows()
    await again.engine.dispose()


async def test_a_session_of_another_kind_is_refused_with_the_remedy(writer: Process) -> None:
    outbox, target = writer.outbox, writer.item.of(1)
    scoped = async_scoped_session(async_sessionmaker(writer.engine), scopefunc=asyncio.current_task)
    for wrong in (scoped, None, writer.engine):
        with pytest.raises(InvalidInput, match="session"):
            outbox.transaction(wrong, target)  # type: ignore[arg-type]
    plain = Session(plain_engine(Path()))
    with pytest.raises(InvalidInput, match="use `with`"):
        async with outbox.transaction(plain, target):
            pass
    with pytest.raises(InvalidInput, match="event loop"), outbox.transaction(plain, target):
        pass
    async with AsyncSession(writer.engine) as session:
        with pytest.raises(InvalidInput, match="use `async with`"), outbox.transaction(session, target):
            pass
        async with session.begin_nested():
            with pytest.raises(InvalidInput, match="savepoint"):
                async with outbox.transaction(session, target):
                    pass
        for stale in ("item:1", writer.item, 5):
            with pytest.raises(InvalidInput, match="nothing to drop"):
                outbox.transaction(session, stale)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="is empty"):
        outbox.entry()
    with suppress(InvalidInput):
        outbox.transaction(plain).add(target)


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("name", {"name": ""}),
        ("name", {"name": 5}),
        ("also", {"also": "two"}),
        ("also", {"also": ["main"]}),
        ("every", {"every": 1}),
        ("table", {"table": None}),
        ("metadata", {"metadata": object()}),
        ("engine", {"engine": "sqlite://"}),
        ("room", {"room": "valkey://x"}),
    ],
)
def test_an_argument_that_cannot_be_is_named(field: str, options: dict[str, Any], tmp_path: Path) -> None:
    given = {"room": Greenroom(sessions=False), "engine": async_engine(tmp_path), **options}
    with pytest.raises(InvalidInput) as raised:
        SqlOutbox(**given)
    assert raised.value.field == field
