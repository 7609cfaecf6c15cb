"""A process that uses the room ends by itself, whatever it is doing, and says nothing of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.real_servers import Server
from tests.support.sync_programs import run_clean

STATES = {
    "never opened": "print('end')",
    "open": "episode('s1', 1); print('end')",
    "closed": "episode('s1', 1); room.close(); print('end')",
    "a daemon thread in a call": """
        loading = threading.Event()
        record.before = lambda: (loading.set(), time.sleep(30))
        threading.Thread(target=episode, args=("s1", 1), daemon=True).start()
        loading.wait()
        print("end")
    """,
    "a daemon thread calls on and on": """
        from greenroom.errors import GreenroomError
        def calls():
            try:
                while True:
                    count.increment(name="a")
            except GreenroomError:
                pass  # the room is closed, or was while this call was under way
        threading.Thread(target=calls, daemon=True).start()
        while not count.get("a"):
            time.sleep(0.001)
        print("end")
    """,
    "a background refresh": """
        from datetime import timedelta
        from greenroom import Keyspace
        behind = threading.Event()
        def load(show_id):
            if record.version == 2:
                behind.set()
                time.sleep(30)
            return Episode(show_id, 1)
        soon = Keyspace("soon:{show_id}", Episode, ttl=timedelta(minutes=1), fresh=timedelta(milliseconds=5), jitter=0)
        stale = room.cache(soon, load=load)
        stale("s1")
        record.version = 2
        while not behind.is_set():
            stale("s1")
        print("end")
    """,
    "an async loader that never ends": """
        import asyncio
        loading = threading.Event()
        async def load(show_id, number):
            loading.set()
            await asyncio.sleep(30)
        endless = room.cached(type(EPISODE)("endless:{show_id}:{number}", Episode, parts={"number": int},
                                            ttl=EPISODE.lifetime.ttl))(load)
        def calls():
            try:
                endless("s1", 1)
            except Exception as error:
                assert type(error).__name__ == "RoomClosed", error
        threading.Thread(target=calls, daemon=True).start()
        loading.wait()
        print("end")
    """,
    "an async loader that blocks the loop": """
        loading = threading.Event()
        async def load(show_id, number):
            loading.set()
            time.sleep(30)
        blocks = room.cached(type(EPISODE)("blocks:{show_id}:{number}", Episode, parts={"number": int},
                                           ttl=EPISODE.lifetime.ttl))(load)
        threading.Thread(target=blocks, args=("s1", 1), daemon=True).start()
        loading.wait()
        print("end")
    """,
    "an interrupted call": """
        def interrupt(*_):
            raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, interrupt)
        record.before = lambda: time.sleep(30)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            episode("s1", 1)
        except KeyboardInterrupt:
            print("end")
    """,
}


@pytest.mark.parametrize("state", STATES)
def test_a_process_ends_in_every_state_without_a_word(valkey: Server, state: str) -> None:
    # One of them is executed, as programs are; no other differs from it in how it has begun.
    assert run_clean(valkey.address, STATES[state], executed=state == "open") == ["end"]


def test_threads_that_outlive_the_main_thread_go_on_with_the_room(valkey: Server) -> None:
    program = """
    room.open()
    def work():
        threading.main_thread().join()
        for _ in range(100):
            count.increment(name="a")
        print(count.get("a"), episode("s1", 1) == Episode("s1", 1))
    threading.Thread(target=work).start()
    """
    assert run_clean(valkey.address, program) == ["100 True"]


def test_a_room_of_a_named_host_is_opened_when_the_main_thread_has_ended(valkey: Server) -> None:
    program = """
    room = Greenroom(sys.argv[1].replace("127.0.0.1", "localhost"))
    def work():
        threading.main_thread().join()
        print(room.health().ok)
    threading.Thread(target=work).start()
    """
    assert run_clean(valkey.address, program) == ["True"]


def test_work_left_to_an_executor_goes_on_with_the_room(valkey: Server) -> None:
    program = """
    pool = ThreadPoolExecutor(2)
    room.open()
    for _ in range(50):
        pool.submit(count.increment, name="a")
    pool.submit(lambda: print(count.get("a") >= 49))
    """
    assert run_clean(valkey.address, program) == ["True"]


def test_an_embedded_server_ends_with_its_process(tmp_path: Path) -> None:
    program = """
    assert count.increment(name="a") == 1
    with open(sys.argv[3], "a") as paths:
        print(room.room.engine.address.path, file=paths)
    """.replace("sys.argv[3]", repr(str(tmp_path / "paths")))
    assert run_clean("", program) == []
    paths = (tmp_path / "paths").read_text().splitlines()
    assert [Path(path).parent.exists() for path in paths] == [False, False]


def test_a_process_ends_while_its_server_is_away(valkey: Server) -> None:
    program = """
    episode("s1", 1)
    print("end")
    """
    valkey.kill()
    assert run_clean(valkey.address, program) == ["end"]


def test_exit_by_an_exception_and_by_a_code_are_as_they_were(valkey: Server) -> None:
    assert run_clean(valkey.address, "episode('s1', 1); sys.exit(7)", code=7) == []


def test_under_the_patches_of_gevent_an_error_says_what_to_do(valkey: Server) -> None:
    program = """
    from gevent import monkey
    monkey.patch_all()
    import sys, threading
    from greenroom.sync import Greenroom
    from tests.support.sync_rooms import EPISODE, Record
    episode = Greenroom(sys.argv[1]).cached(EPISODE)(Record().load)
    try:
        episode("s1", 1)
    except Exception as error:
        print(type(error).__name__, "gthread" in str(error), threading.active_count())
    """
    command = [sys.executable, "-X", "dev", "-c", dedent(program), valkey.address]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stdout) == (0, "RoomElsewhere True 1\n"), run.stderr


def test_the_room_and_its_loop_are_closed_at_the_end(valkey: Server) -> None:
    program = """
    from greenroom.sync import process
    room.open()
    loop = process.portal().loop
    at_end.append(lambda: print(loop.is_closed(), threading.active_count()))
    """
    assert run_clean(valkey.address, program) == ["True 1"]
