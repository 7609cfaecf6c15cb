"""The outbox of SQLAlchemy for a room of `greenroom.sync`: committed and dropped when the block ends, in any thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from greenroom import Greenroom as AsyncGreenroom
from greenroom.errors import InvalidInput, RoomElsewhere
from greenroom.integrations.outbox_rooms import LoopRoom
from greenroom.integrations.sqlalchemy import SqlOutbox
from greenroom.sync import Cache, Greenroom
from tests.support.outbox_items import ITEM, NEVER, PAGE, Base, Item, async_engine, made, plain_engine
from tests.support.patience import wait_for
from tests.support.real_servers import Server
from tests.support.sync_programs import run_clean
from tests.support.sync_rooms import together

SLOW = "sqlalchemy.ext.asyncio"
"""What the programs import."""


class Process:
    """What a process with threads has."""

    def __init__(self, address: str, directory: Path, **options: Any) -> None:
        self.room = Greenroom(address, sessions=False)
        self.engine = plain_engine(directory)
        self.outbox = SqlOutbox(self.room, self.engine, Base.metadata, **{"every": NEVER, **options})
        self.item: Cache[str] = self.room.cache(ITEM, load=self.load)
        self.page: Cache[list[int]] = self.room.cache(PAGE, load=self.numbers, groups=["pages:{letter}"])

    def load(self, number: int) -> str | None:
        """The name of an item."""
        with Session(self.engine) as session:
            return session.scalar(select(Item.name).where(Item.number == number))

    def numbers(self, letter: str, page: int) -> list[int]:
        """The items that begin with a letter."""
        with Session(self.engine) as session:
            return list(session.scalars(select(Item.number).where(Item.name.startswith(letter))))

    def rows(self) -> int:
        """The rows of the outbox."""
        with self.engine.connect() as connection:
            return len(connection.execute(select(self.outbox.table)).all())

    def rename(self, name: str, *stale: Any) -> None:
        """Change the item in a transaction of the outbox."""
        with Session(self.engine) as session, self.outbox.transaction(session, *stale):
            session.get_one(Item, 1).name = name


@contextmanager
def running(address: str, directory: Path, **options: Any) -> Iterator[Process]:
    one = Process(address, directory, **options)
    try:
        with one.room:
            yield one
    finally:
        one.engine.dispose()


@pytest.fixture
def one(valkey: Server, tmp_path: Path) -> Iterator[Process]:
    made(tmp_path)
    with running(valkey.address, tmp_path) as process:
        yield process


@pytest.fixture
def other(valkey: Server, tmp_path: Path, one: Process) -> Iterator[Process]:
    with running(valkey.address, tmp_path) as process:
        yield process


@pytest.mark.parametrize("opened", [True, False], ids=["open", "not open"])
def test_a_transaction_is_committed_and_dropped_when_it_returns(one: Process, other: Process, opened: bool) -> None:
    if opened:
        one.outbox.open()
    assert [process.item.get(1) for process in (one, other)] == ["old", "old"]
    assert one.page.get("o", 1) == [1]
    one.rename("new", one.item.of(1), one.page.group("o"))
    assert (one.item.get(1), one.page.get("o", 1)) == ("new", [])
    wait_for(lambda: other.item.get(1) == "new")
    one.rename("old", ITEM, PAGE)
    assert (one.item.get(1), one.page.get("o", 1)) == ("old", [1])
    wait_for(lambda: one.rows() == 0)
    if opened:
        one.outbox.close()


def test_threads_that_change_one_value_never_read_an_older_one(one: Process) -> None:
    stale: list[tuple[str, str | None]] = []
    lock = threading.Lock()  # of the database's one writer, which SQLite would answer with "locked"

    def change(number: int) -> None:
        for step in range(10):
            with lock:
                one.rename(name := f"{number}-{step}", one.item.of(1))
                if (read := one.item.get(1)) != name:
                    stale.append((name, read))

    threads = [threading.Thread(target=change, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not stale


def test_no_thread_has_the_old_value_from_near_while_it_is_dropped(
    one: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, begun, go_on = SqlOutbox.drop, threading.Event(), threading.Event()

    async def drop(self: SqlOutbox, *args: Any) -> None:
        begun.set()
        await asyncio.to_thread(go_on.wait)
        await real(self, *args)

    monkeypatch.setattr(SqlOutbox, "drop", drop)
    assert one.item.get(1) == one.item.peek(1) == "old"
    thread = threading.Thread(target=one.rename, args=("new", one.item.of(1)))
    thread.start()
    assert begun.wait(30)
    try:
        assert one.item.peek(1) is None
    finally:
        go_on.set()
        thread.join()
    assert one.item.get(1) == "new"


def test_an_error_rolls_back_and_drops_nothing(one: Process) -> None:
    one.item.get(1)
    session = Session(one.engine)
    with pytest.raises(ZeroDivisionError), session, one.outbox.transaction(session, one.item.of(1)):  # noqa: PT012
        session.execute(update(Item).values(name="new"))
        raise ZeroDivisionError
    assert (one.item.peek(1), one.load(1), one.rows()) == ("old", "old", 0)


def test_what_was_left_is_sent_by_who_opens_it(one: Process, valkey: Server, tmp_path: Path) -> None:
    one.item.get(1)
    with Session(one.engine) as session:
        session.execute(update(Item).values(name="new"))
        session.execute(one.outbox.entry(one.item.of(1), one.page.group("o")))
        session.commit()
    with running(valkey.address, tmp_path, every=timedelta(milliseconds=20)) as later, later.outbox:
        assert later.item.get(1) == "new"
        wait_for(lambda: one.rows() == 0)


def test_a_closed_room_leaves_the_rows_to_others(one: Process) -> None:
    one.room.close()
    one.rename("new", one.item.of(1))
    assert (one.load(1), one.rows()) == ("new", 1)


async def test_in_an_event_loop_and_with_an_async_session_it_is_refused(one: Process, tmp_path: Path) -> None:
    with pytest.raises(RoomElsewhere), one.outbox.transaction(Session(one.engine), one.item.of(1)):
        pass
    engine = async_engine(tmp_path)
    async with AsyncSession(engine) as session:
        with pytest.raises(InvalidInput, match=r"greenroom\.sync"):
            async with one.outbox.transaction(session, one.item.of(1)):
                pass
    with pytest.raises(InvalidInput, match="use `with outbox`"):
        async with one.outbox:
            pass
    await engine.dispose()


def test_an_open_outbox_ends_with_its_process_and_begins_anew_in_a_fork(valkey: Server, tmp_path: Path) -> None:
    made(tmp_path)
    program = f"""
    from pathlib import Path
    from tests.integration.sync.test_sync_outbox import Process
    one = Process(sys.argv[1], Path({str(tmp_path)!r}))
    one.outbox.open()
    one.rename("old", one.item.of(1))  # the program runs more than once
    assert one.item.get(1) == "old"
    one.rename("new", one.item.of(1))
    one.engine.dispose()
    def child():
        one.rename("newer", one.item.of(1))
        print(one.item.get(1), flush=True)
        one.outbox.open()
        one.engine.dispose()
    print(in_child(child), flush=True)
    end = time.monotonic() + 20
    while one.item.get(1) != "newer" and time.monotonic() < end:
        time.sleep(0.01)
    print(one.item.get(1))
    one.engine.dispose()
    """
    assert run_clean(valkey.address, program, imported=SLOW) == ["newer", "0", "newer"]


def test_an_open_outbox_goes_on_when_the_main_thread_has_ended(valkey: Server, tmp_path: Path) -> None:
    made(tmp_path)
    program = f"""
    from pathlib import Path
    from tests.integration.sync.test_sync_outbox import Process
    one = Process(sys.argv[1], Path({str(tmp_path)!r}))
    one.outbox.open()
    def work():
        threading.main_thread().join()
        one.rename("new", one.item.of(1))
        end = time.monotonic() + 20
        while one.rows() and time.monotonic() < end:
            time.sleep(0.01)
        print(one.item.get(1), one.rows())
        one.engine.dispose()
    threading.Thread(target=work).start()
    """
    assert run_clean(valkey.address, program, imported=SLOW) == ["new 0"]


def test_of_threads_that_open_one_outbox_at_once_one_does(one: Process) -> None:
    read, met = one.outbox.read, asyncio.Event()
    waiting = 0

    async def together_read() -> Any:
        nonlocal waiting
        rows = await read()
        waiting += 1
        if waiting == 2:
            met.set()
        await met.wait()
        return rows

    one.outbox.read = together_read  # type: ignore[method-assign]

    def open_it() -> str:
        try:
            one.outbox.open()
        except InvalidInput as error:
            return error.field
        return "opened"

    assert sorted(together([open_it, open_it])) == ["opened", "outbox"]
    one.outbox.close()

    async def senders() -> list[str]:
        return [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "greenroom-outbox"]

    assert one.room.run(lambda _: senders()) == []


def test_a_thread_that_has_committed_waits_for_no_loop_that_has_ended() -> None:
    loops = LoopRoom(AsyncGreenroom())
    queued = threading.Event()
    loops.loop = asyncio.new_event_loop()

    async def drop() -> None:
        """What would drop."""

    def make() -> Any:
        queued.set()
        return drop()

    thread = threading.Thread(target=loops.drop, args=([], make), daemon=True)
    thread.start()
    queued.wait(30)
    loops.loop.close()
    thread.join(30)
    assert not thread.is_alive()


def test_a_thread_that_has_committed_hears_nothing_of_a_loop_that_ends() -> None:
    loops, begun = LoopRoom(AsyncGreenroom()), threading.Event()

    async def drop() -> None:
        begun.set()
        await asyncio.Event().wait()

    async def runs() -> Future[None]:
        loops.loop = asyncio.get_running_loop()
        dropped: Future[None] = Future()

        def in_thread() -> None:
            try:
                dropped.set_result(loops.drop([], drop))  # type: ignore[func-returns-value]
            except BaseException as error:
                dropped.set_exception(error)

        threading.Thread(target=in_thread, daemon=True).start()
        while not begun.is_set():
            await asyncio.sleep(0)
        return dropped

    assert asyncio.run(runs()).result(30) is None
