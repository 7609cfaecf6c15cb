"""What a server answers while it reads its file, and what the engine makes of that."""

from __future__ import annotations

import random

import pytest

from greenroom.engine import Address, Channel
from greenroom.engine.protocol.errors import NotNow, reply_error
from greenroom.engine.server.standalone import Standalone
from tests.support.patience import until, wait_for
from tests.support.real_servers import Raw, Server


@pytest.fixture
def loading(server: Server) -> Raw:
    """A connection to a server that reads its file until `quick` is called."""
    raw, dice = server.raw(), random.Random(1)
    raw("SET", "k", "v")
    for number in range(2000):
        raw("SET", f"k{number}", dice.randbytes(200))  # what does not shrink, or the looks are rare
    raw("SAVE")
    server.kill()
    # 10 ms a key, and a look at its clients every few keys.
    server.spawn("--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024")
    wait_for(lambda: listens(server))
    return server.raw()


def listens(server: Server) -> bool:
    try:
        server.raw().close()
    except ConnectionRefusedError:
        return False
    return True


def quick(raw: Raw) -> None:
    """Let the server read the rest at once."""
    assert raw("CONFIG", "SET", "key-load-delay", 0) == b"OK"


def test_hello_and_tracking_are_answered_while_data_is_not_yet(loading: Raw) -> None:
    # Ready means PONG, not HELLO.
    assert not isinstance(loading("HELLO", 3), Exception)
    assert loading("CLIENT", "TRACKING", "ON") == b"OK"
    for command in (("PING",), ("GET", "k"), ("SCRIPT", "LOAD", "return 1"), ("EVAL", "return 1", 0)):
        assert isinstance(reply_error(str(loading(*command))), NotNow), command


async def test_the_lane_is_up_when_the_server_has_read_its_file_and_not_before(server: Server, loading: Raw) -> None:
    engine = Standalone(Address.parse(server.address))
    try:
        await engine.start()
        assert "LOADING" in str(engine.unavailable)
        quick(loading)
        await until(lambda: engine.unavailable is None, 10)
        assert await engine.execute(Channel.TRACKED, "k", "GET", "k") == b"v"
    finally:
        await engine.close()
