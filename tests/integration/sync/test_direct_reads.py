"""A thread that is alone asks the server itself, and finds what it would have found through the event loop."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import FrameType
from typing import Any, TypeVar

import pytest

from greenroom import Keyspace
from greenroom.counters import Counters, Histogram
from greenroom.engine import Address, Channel, engine_at
from greenroom.engine.server import direct as direct_module
from greenroom.engine.server.direct import DirectQuestions
from greenroom.engine.server.node import Node
from greenroom.engine.transport.connection import Connection
from greenroom.engine.transport.direct import DirectConnection
from greenroom.engine.transport.supervisor import SupervisedConnection
from greenroom.errors import EngineUnavailable, RoomElsewhere
from greenroom.sync import Greenroom
from greenroom.sync.portal import Portal
from tests.support.kept_servers import KeptServers
from tests.support.patience import wait_for
from tests.support.real_servers import Server, valkey_binary
from tests.support.sync_programs import run_clean
from tests.support.sync_rooms import COUNT, EPISODE, Episode, Record, together

T = TypeVar("T")
FAR = timedelta(0)


@pytest.fixture(autouse=True)
def quiet_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop sends nothing by itself: a read beside a ping goes through the portal."""

    async def believed(*_: object) -> None:
        pass

    monkeypatch.setattr(Connection, "_alive", lambda *_: True)
    monkeypatch.setattr(SupervisedConnection, "_follow_role", believed)


def questions(room: Greenroom) -> DirectQuestions:
    """What asks the room's server without the loop."""
    room.open()
    direct = room.room.backing.engine.direct
    assert isinstance(direct, DirectQuestions)
    return direct


def connected(room: Greenroom) -> DirectQuestions:
    """The same, with its connection, for a thread that has just asked."""
    direct = questions(room)
    wait_for(lambda: room.post(direct.open) or (not direct.due and direct._open is not None))  # type: ignore[func-returns-value]
    assert room._direct is not None
    wait_for(room._direct.alone)
    return direct


class ThroughThePortal(Exception):
    """A call has gone there."""


@contextmanager
def no_portal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever goes through the portal raises."""

    def refused(*_: object, **__: object) -> None:
        raise ThroughThePortal

    with monkeypatch.context() as patched:
        patched.setattr(Portal, "run", refused)
        yield


def alone(monkeypatch: pytest.MonkeyPatch, read: Callable[[], T]) -> T:
    """What a read finds that has not gone through the portal; repeated while the loop has a ping on its way."""
    found = list[T]()

    def tried() -> bool:
        with suppress(ThroughThePortal):
            found.append(read())
        return bool(found)

    with no_portal(monkeypatch):
        wait_for(tried)
    return found[0]


def never_alone(monkeypatch: pytest.MonkeyPatch, read: Callable[[], object]) -> bool:
    """Whether a read goes through the portal each time."""
    with no_portal(monkeypatch):
        for _ in range(20):
            with pytest.raises(ThroughThePortal):
                read()
    return True


def names(server: Server) -> list[bytes]:
    """What the server's connections are called."""
    raw = server.raw()
    clients = raw("CLIENT", "LIST")
    raw.close()
    return [field[5:] for field in clients.split() if field.startswith(b"name=")]


def test_a_lone_thread_reads_without_the_loop(room: Greenroom, monkeypatch: pytest.MonkeyPatch) -> None:
    episode, count = room.cached(EPISODE, near_for=FAR)(Record().load), room.store(COUNT, near_for=FAR)
    assert episode("s1", 1) == Episode("s1", 1)
    count.set(3, name="a")
    connected(room)
    assert alone(monkeypatch, lambda: episode("s1", 1)) == Episode("s1", 1)
    assert alone(monkeypatch, lambda: count.get("a")) == 3
    assert alone(monkeypatch, lambda: count.get("b")) is None
    reads = room.counters.reads
    assert (reads[EPISODE.name, "hit"], reads[COUNT.name, "hit"], reads[COUNT.name, "miss"]) == (1, 1, 1)


def test_the_connection_is_opened_by_the_first_read_that_can_use_it(room: Greenroom, valkey: Server) -> None:
    episode = room.cached(EPISODE)(Record().load)
    assert episode("s1", 1) == episode("s1", 1)
    assert b"greenroom-direct" not in names(valkey), "what is kept near is read by the loop, which hears of its changes"
    count = room.store(COUNT, near_for=FAR)
    assert (count.get("a"), count.get("a")) == (None, None)
    wait_for(lambda: b"greenroom-direct" in names(valkey))
    room.close()
    assert b"greenroom-direct" not in names(valkey)


def test_a_value_that_is_missing_or_broken_is_loaded_in_its_thread(room: Greenroom, valkey: Server) -> None:
    record = Record()
    episode, count = room.cached(EPISODE, near_for=FAR)(record.load), room.store(COUNT, near_for=FAR)
    connected(room)
    assert episode("s1", 1) == Episode("s1", 1)
    raw = valkey.raw()
    raw("SET", "cache:episode:s1:2", "{", "PX", 60_000)
    raw("LPUSH", "cache:episode:s1:3", "a")
    raw.close()
    assert [episode("s1", number) for number in (2, 3, 13)] == [Episode("s1", 2), Episode("s1", 3), None]
    assert record.threads == [threading.current_thread()] * 4
    assert count.get("a") is None


def test_what_a_thread_has_written_is_what_it_reads(room: Greenroom) -> None:
    record = Record()
    episode, count = room.cached(EPISODE, near_for=FAR)(record.load), room.store(COUNT, near_for=FAR)
    connected(room)
    for number in range(1, 50):
        record.version = number
        episode.invalidate("s1", 1)
        count.set(number, name="a")
        assert (episode("s1", 1), count.get("a")) == (Episode("s1", 1, number), number)


def test_many_threads_each_find_their_own_values(room: Greenroom) -> None:
    episode = room.cached(EPISODE, near_for=FAR)(Record().load)
    connected(room)

    def read(show: int) -> bool:
        return all(episode(f"s{show}", number) == Episode(f"s{show}", number) for number in [*range(12)] * 20)

    assert together([lambda show=show: read(show) for show in range(8)]) == [True] * 8  # type: ignore[misc]


def test_a_second_thread_does_not_wait_for_the_first(room: Greenroom, monkeypatch: pytest.MonkeyPatch) -> None:
    count = room.store(COUNT, near_for=FAR)
    count.set(1, name="a")
    count.set(2, name="b")
    connected(room)
    asked, go, ask = threading.Event(), threading.Event(), DirectConnection._asked

    def held(connection: DirectConnection, commands: Any, began: float) -> list[Any]:
        replies = ask(connection, commands, began)
        asked.set()
        assert go.wait(30)
        return replies

    monkeypatch.setattr(DirectConnection, "_asked", held)
    found = list[int | None]()
    first = threading.Thread(target=lambda: found.extend((count.get("a"), count.get("a"))))
    first.start()
    assert asked.wait(30)
    assert (count.get("b"), count.get("b")) == (2, 2)
    go.set()
    first.join(30)
    assert found == [1, 1]


def test_a_read_does_not_overtake_a_write_that_is_on_its_way(room: Greenroom, valkey: Server) -> None:
    count = room.store(COUNT, near_for=FAR)
    count.set(1, name="a")
    connected(room)
    raw = valkey.raw()
    raw("CLIENT", "PAUSE", 30_000, "WRITE")
    engine, written = room.room.backing.engine, threading.Event()

    async def write() -> None:
        # By the loop itself, where no call of a thread is under way.
        await count.asynchronous.set(2, name="a")
        written.set()

    writes = list[asyncio.Task[None]]()
    room.post(lambda: writes.append(asyncio.get_running_loop().create_task(write())))
    wait_for(lambda: engine._node.connection(Channel.TRACKED).outstanding)  # type: ignore[attr-defined]
    later = threading.Timer(0.1, lambda: raw("CLIENT", "UNPAUSE"))
    later.start()
    assert count.get("a") == 2
    assert written.wait(30)
    later.join()
    raw.close()


def test_the_reply_to_an_interrupted_read_is_given_to_nobody(room: Greenroom, valkey: Server) -> None:
    class Interrupted(BaseException):
        """As KeyboardInterrupt, which would end the tests."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise Interrupted

    count = room.store(COUNT, near_for=FAR)
    count.set(1, name="a")
    count.set(2, name="b")
    direct = connected(room)
    opened = direct._open
    assert opened is not None
    wire, main = opened.direct._wire, threading.get_ident()

    def when_it_waits() -> None:
        wait_for(lambda: wire.issued > wire.answered)
        signal.pthread_kill(main, signal.SIGUSR1)

    usual = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with valkey.frozen():
            other = threading.Thread(target=when_it_waits)
            other.start()
            with pytest.raises(Interrupted):
                count.get("a")
            other.join(30)
        connected(room)
        assert [count.get("b") for _ in range(3)] == [2] * 3
        assert direct._open is not opened
    finally:
        signal.signal(signal.SIGUSR1, usual)


@pytest.mark.own_budget
def test_a_frozen_server_costs_a_read_the_time_of_one_call(
    room: Greenroom, valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = room.store(COUNT, near_for=FAR)
    count.set(1, name="a")
    direct = connected(room)
    engine = room.room.backing.engine
    asked, execute, ask = list[float | None](), engine.execute_all, DirectConnection._asked
    began = list[float]()

    async def noted(*given: Any, deadline: float | None = None, **options: Any) -> list[Any]:
        asked.append(deadline)
        return await execute(*given, deadline=deadline, **options)

    def directly(connection: DirectConnection, commands: Any, at: float) -> list[Any]:
        began.append(at)
        return ask(connection, commands, at)

    monkeypatch.setattr(engine, "execute_all", noted)
    monkeypatch.setattr(DirectConnection, "_asked", directly)
    with valkey.frozen(), pytest.raises(EngineUnavailable):
        count.get("a")
    (deadline,), (at,) = asked, began
    assert deadline is not None
    assert deadline - engine.call_budget <= at, "it counts from the read on, and not from its end"
    assert not direct.due, "what has just failed is not tried at once"
    wait_for(lambda: room.unavailable is None)
    assert count.get("a") == 1


@pytest.mark.own_limits
def test_a_signal_gives_a_frozen_server_no_more_time(room: Greenroom, valkey: Server) -> None:
    count = room.store(COUNT, near_for=FAR)
    count.set(1, name="a")
    direct = connected(room)
    opened = direct._open
    assert opened is not None
    opened.direct._patience = 1.0
    signals, over = 0, threading.Event()

    def tick(_: int, __: FrameType | None) -> None:
        nonlocal signals
        signals += 1
        if signals > 200:
            over.set()  # 20 s: what each signal begins anew has not ended
            signal.setitimer(signal.ITIMER_REAL, 0)

    usual = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    try:
        with valkey.frozen(), pytest.raises(EngineUnavailable):
            count.get("a")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)
    assert signals
    assert not over.is_set()


def test_an_idle_connection_is_replaced(room: Greenroom) -> None:
    count = room.store(COUNT, near_for=FAR)
    count.set(1, name="a")
    direct = connected(room)
    opened = direct._open
    assert opened is not None
    opened.direct._answered_at -= 3600
    assert direct.ask((("GET", "count:a"),)) is None
    assert count.get("a") == 1
    wait_for(lambda: direct._open not in (opened, None))
    assert opened.direct.over
    assert count.get("a") == 1


def test_an_instrument_is_told_of_each_read(room: Greenroom) -> None:
    count = room.store(COUNT, near_for=FAR)
    direct = connected(room)
    assert direct.ask((("PING",),)) == [b"PONG"]
    room.room.counters.events.instruments = (object(),)  # type: ignore[assignment]
    assert direct.ask((("PING",),)) is None
    assert direct._open is not None
    direct._open.direct._answered_at -= 3600
    assert not direct.due, "nobody would use it"
    room.room.counters.events.instruments = ()
    assert count.get("a") is None


def test_no_thread_asks_beside_a_call_that_is_under_way(room: Greenroom) -> None:
    connected(room)
    portal, calls = room._portal, room._direct
    assert portal is not None
    assert calls is not None
    call: Any = object()
    portal.running.add(call)
    assert not calls.alone()
    portal.running.discard(call)
    assert calls.alone()
    portal.left_by[threading.get_ident()] = [call]
    assert not calls.alone(), "what this thread was interrupted in comes first"
    del portal.left_by[threading.get_ident()]
    portal.left_by[-1] = [call]
    assert calls.alone(), "another thread's is for that one to wait for"
    portal.left_by.clear()
    at_it, go = threading.Event(), threading.Event()

    def long() -> None:
        at_it.set()
        go.wait(30)

    portal.post(long)
    assert at_it.wait(30)
    assert not calls.alone(), "what the loop is at is still in its queue"
    go.set()
    wait_for(calls.alone)
    calls._asked_at -= 3600
    assert not calls.alone(), "what is asked now and then is not in a row"


def test_threads_that_ask_in_turns_ask_the_loop(room: Greenroom, monkeypatch: pytest.MonkeyPatch) -> None:
    count = room.store(COUNT, near_for=FAR)
    connected(room)
    asked, ask = list[int](), DirectConnection.ask

    def noted(connection: DirectConnection, commands: Any) -> list[Any] | None:
        asked.append(threading.get_ident())
        return ask(connection, commands)

    monkeypatch.setattr(DirectConnection, "ask", noted)
    for _ in range(20):
        together([lambda: count.get("a")])
        count.get("a")
    assert not asked
    alone(monkeypatch, lambda: count.get("a"))
    assert set(asked) == {threading.get_ident()}


def test_its_questions_are_in_the_times_of_commands(room: Greenroom, monkeypatch: pytest.MonkeyPatch) -> None:
    count = room.store(COUNT, near_for=FAR)
    direct = connected(room)
    counters = Counters()
    monkeypatch.setattr(direct, "_counters", counters)  # in which no ping is
    for asked in (5, 8):
        for _ in range(asked):
            alone(monkeypatch, lambda: count.get("a"))
        assert room.counters is not None
    assert sum(counters.commands[str(room.room.backing.engine.address)].counts) == 13


def test_a_reply_that_trickles_has_no_more_time_than_another() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    connection, over = DirectConnection(ours, 0.2, Histogram()), threading.Event()

    def trickle() -> None:
        theirs.recv(1000)
        theirs.sendall(b"$1000\r\n")
        with suppress(OSError):
            for _ in range(1000):
                theirs.sendall(b"x")
                over.wait(0.02)
            theirs.sendall(b"\r\n")

    other = threading.Thread(target=trickle)
    other.start()
    with pytest.raises(EngineUnavailable, match="no reply in time"):
        connection.ask((("GET", "a"),))
    over.set()
    other.join(30)
    theirs.close()
    assert connection.over


def test_a_session_is_read_without_the_loop(room: Greenroom, monkeypatch: pytest.MonkeyPatch) -> None:
    session, token = room.sessions.start(user_id="u1")
    connected(room)
    assert room.sessions.load(token) is not None
    for read in (room.sessions.read, room.sessions.load):
        found = alone(monkeypatch, lambda read=read: read(token))  # type: ignore[misc]
        assert found is not None
        assert found.session_id == session.session_id
    room.sessions.save(session.session_id, basket=["tea"])
    changed = alone(monkeypatch, lambda: room.sessions.read(token))
    assert changed is not None
    assert changed.members["basket"] == ["tea"]
    rotated, new = room.sessions.rotate(session.session_id, {})
    assert alone(monkeypatch, lambda: room.sessions.read(new)).session_id == rotated.session_id  # type: ignore[union-attr]
    room.sessions.end(rotated.session_id)
    assert [room.sessions.read(one) for one in (new, new, "no token")] == [None] * 3


def test_the_use_of_a_session_is_noted(room: Greenroom, valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    session, token = room.sessions.start(user_id="u1")
    connected(room)
    raw = valkey.raw()
    touched = [key for key in raw("KEYS", "*touched*") if session.session_id.encode() in key]
    for key in touched:
        raw("DEL", key)
    assert alone(monkeypatch, lambda: room.sessions.read(token)) is not None
    assert not raw("EXISTS", *touched), "a look says nothing of its use"
    assert alone(monkeypatch, lambda: room.sessions.load(token)) is not None
    wait_for(lambda: raw("EXISTS", *touched))
    raw.close()


def test_an_anonymous_session_comes_into_use_by_its_first_read(
    room: Greenroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, token = room.sessions.start()
    connected(room)
    assert never_alone(monkeypatch, lambda: room.sessions.read(token))
    wait_for(lambda: (found := room.sessions.read(token)) is not None and not found.touch_due)


def test_what_is_past_its_soft_lifetime_is_refreshed(
    room: Greenroom, valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyspace = Keyspace("soft:{id}", str, ttl=timedelta(minutes=2), fresh=timedelta(minutes=1))
    values = iter("abc")
    soft = room.cache(keyspace, load=lambda id: next(values), near_for=FAR)
    assert (soft.get("1"), soft.get("1"), soft.get("1")) == ("a", "a", "a")
    connected(room)
    raw = valkey.raw()
    raw("PEXPIRE", "soft:1", 30_000)
    raw.close()
    assert never_alone(monkeypatch, lambda: soft.get("1"))
    assert soft.get("1") == "a"
    wait_for(lambda: soft.get("1") == "b")


def test_a_keyspace_that_was_dropped_gives_nothing_from_before(
    room: Greenroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Record()
    episode = room.cached(EPISODE, near_for=FAR)(record.load)
    connected(room)
    assert (episode("s1", 1), episode("s1", 1)) == (Episode("s1", 1), Episode("s1", 1))
    record.version = 2
    room.drop_keyspace(EPISODE)
    assert never_alone(monkeypatch, lambda: episode("s1", 1)), "its mark must be looked at"
    assert (episode("s1", 1), episode("s1", 1)) == (Episode("s1", 1, 2), Episode("s1", 1, 2))


def test_a_drop_that_the_server_has_not_had_is_heeded(room: Greenroom, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Record()
    episode = room.cached(EPISODE, near_for=FAR)(record.load)
    assert episode("s1", 1) == Episode("s1", 1)
    key = "cache:episode:s1:1"
    remote = episode.cache.asynchronous._remote
    assert remote.alone(key) is not None
    monkeypatch.setattr(remote, "_refused_drops", {key})
    assert remote.alone(key) is None


def test_sessions_on_a_server_of_their_own_are_asked_there(kept: KeptServers, valkey: Server) -> None:
    with kept.lent(valkey_binary()) as other, Greenroom(valkey.address, session_address=other.address) as room:
        _, token = room.sessions.start(user_id="u1")
        for _ in range(3):
            assert room.sessions.read(token) is not None
        wait_for(lambda: room.sessions.read(token) is not None and b"greenroom-direct" in names(other))
        assert b"greenroom-direct" not in names(valkey)


def test_it_ends_with_the_loops_own_connection(room: Greenroom) -> None:
    count = room.store(COUNT, near_for=FAR)
    count.set(1, name="a")
    direct = connected(room)
    opened, engine = direct._open, room.room.backing.engine
    room.post(lambda: engine.reset(Channel.TRACKED, "", "for this test"))
    wait_for(lambda: direct.due)
    assert direct.ask((("GET", "count:a"),)) is None
    assert count.get("a") == 1
    assert connected(room)._open is not opened
    assert [count.get("a") for _ in range(3)] == [1] * 3


def test_another_server_at_the_address_is_not_asked(
    room: Greenroom, kept: KeptServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = room.store(COUNT, near_for=FAR)
    count.set(1, name="a")
    direct = questions(room)
    with kept.lent(valkey_binary()) as other:
        address = Address.parse(other.address)
        monkeypatch.setattr(Node, "leads_to", property(lambda _: address))
        room.post(direct.open)
        wait_for(lambda: direct._not_before)
        assert count.get("a") == 1
        assert direct._open is None
        wait_for(lambda: b"greenroom-direct" not in names(other))


def test_what_is_no_server_is_left_alone(room: Greenroom, monkeypatch: pytest.MonkeyPatch) -> None:
    count = room.store(COUNT, near_for=FAR)
    count.set(1, name="a")
    direct = questions(room)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            caller, _ = listener.accept()
            with caller:
                caller.recv(1000)
                caller.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        other = threading.Thread(target=answer)
        other.start()
        address = Address.parse(f"valkey://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setattr(Node, "leads_to", property(lambda _: address))
        room.post(direct.open)
        wait_for(lambda: direct._not_before)
        other.join(30)
    assert (count.get("a"), count.get("a")) == (1, 1)
    assert direct._pause > direct_module._FIRST_PAUSE


def test_through_tls_and_in_a_cluster_the_loop_is_asked() -> None:
    assert engine_at(Address.parse("valkey://localhost")).direct is not None
    assert engine_at(Address.parse("valkeys://localhost")).direct is None
    assert engine_at(Address.parse("valkey+cluster://localhost")).direct is None


def test_a_thread_with_an_event_loop_is_refused(room: Greenroom) -> None:
    count = room.store(COUNT, near_for=FAR)
    connected(room)

    async def read() -> None:
        for _ in range(20):
            with pytest.raises(RoomElsewhere):
                count.get("a")

    assert count.get("a") is None
    asyncio.run(read())


def test_a_closed_room_is_asked_nothing(make_room: Callable[..., Greenroom]) -> None:
    room = make_room()
    count = room.store(COUNT, near_for=FAR)
    connected(room)
    room.close()
    with pytest.raises(Exception, match="closed"):
        count.get("a")
    room.open()
    assert count.get("a") is None


def test_a_forked_child_has_a_connection_of_its_own(valkey: Server) -> None:
    program = """
    from datetime import timedelta
    from greenroom import Keyspace
    from tests.integration.sync.test_direct_reads import connected
    far = room.store(Keyspace("far:{name}", int, ttl=timedelta(minutes=5)), near_for=timedelta(0))
    for number in range(20):
        far.set(number, name=str(number))
    connected(room)
    def read(numbers):
        return all(far.get(str(number)) == number for number in [*numbers] * 200)
    def child():
        assert far.get("1") == 1
        connected(room)
        assert read(range(10))
        assert count.increment(name="child") == 1
    pid = os.fork()
    if not pid:
        child()
        sys.exit(0)
    print(read(range(10, 20)), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), lost())
    """
    assert run_clean(valkey.address, program) == ["True 0 0"]
