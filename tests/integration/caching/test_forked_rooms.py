"""A child that is forked while a room is open leaves all that is its parent's alone, however the child ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, gc, os, sys
from pathlib import Path
from greenroom import Greenroom
from greenroom.errors import RoomElsewhere
from greenroom_platform.domain.records import TopicDraft
from greenroom_platform.platform import open_platform

DRAFT = TopicDraft(display_name="Forked", description="", keywords=())
what, how = sys.argv[1:]
loop = asyncio.new_event_loop()
opener = Greenroom() if what == "room" else open_platform()

async def opened():
    made = await opener.__aenter__()
    room = made if what == "room" else made.room
    _, token = await room.sessions.start()
    if what == "platform":
        await made.topics.put("before", DRAFT)
    return made, room, token

made, room, token = loop.run_until_complete(opened())
directory = Path(room.engine.address.path).parent
files = set(directory.rglob("*"))

async def close():
    try:
        await room.close()
    except RoomElsewhere:
        print("elsewhere", flush=True)

if not os.fork():
    # The finalizer of the loop itself is asyncio's: it takes the pipe that wakes it out of the epoll of both.
    asyncio.BaseEventLoop.__del__ = lambda loop: None
    if how == "close":
        asyncio.run(close())
        del opener, made, room
        gc.collect()
    if how == "tasks":
        for task in asyncio.all_tasks(loop):
            task.get_coro().close()  # as when it is collected
    sys.exit(0)
os.wait()

async def after():
    live = await room.sessions.read(token)
    made_since = sum(room.counters.engine_events[node, event] for node, event in room.counters.engine_events
                     if event == "lost")
    if what == "platform":
        await made.topics.put("after", DRAFT)
        assert {one.topic_id for one in await made.topics.all()} >= {"before", "after"}
    print(live is not None, made_since, files <= set(directory.rglob("*")), flush=True)
    await opener.__aexit__(None, None, None)
    print(directory.exists())

loop.run_until_complete(after())
"""


@pytest.mark.parametrize("how", ["exit", "close", "tasks"])
@pytest.mark.parametrize("what", ["room", "platform"])
def test_a_forked_child_leaves_the_embedded_server_its_directory(what: str, how: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, what, how]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    told = ["elsewhere"] if how == "close" else []
    assert run.stdout.splitlines() == [*told, "True 0 True", "False"], run.stderr


ENDS = """
import asyncio, sys
from greenroom import Greenroom

async def main():
    room = await Greenroom().__aenter__()
    print(room.engine.address.path, flush=True)
    sys.exit(0)

asyncio.run(main())
"""


def test_a_temporary_directory_goes_with_a_process_that_never_closes() -> None:
    command = [sys.executable, "-W", "ignore", "-c", ENDS]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert not Path(run.stdout.strip()).parent.exists(), run.stderr
