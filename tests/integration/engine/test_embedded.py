"""The embedded server: one per directory, whatever dies."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenroom.engine import Address, Channel, start_within
from greenroom.engine.embedded import SOCKET, EmbeddedServer
from greenroom.engine.server.standalone import Standalone
from greenroom.errors import EngineUnavailable, InvalidInput
from tests.support.patience import wait_for
from tests.support.real_servers import Raw

# A process that opens the server, says so with its own view of it, and does as it is told on standard input.
MEMBER = """
import asyncio, sys
from pathlib import Path
from greenroom.engine.embedded import EmbeddedServer

async def main():
    server = EmbeddedServer(Path(sys.argv[1]))
    await server.ensure()
    print(server.pid or 0, flush=True)
    loop = asyncio.get_running_loop()
    while (order := (await loop.run_in_executor(None, sys.stdin.readline)).strip()) == "ensure":
        await server.ensure()
        print(server.pid or 0, flush=True)
    if order == "close":
        await server.close()
        print("closed", flush=True)

asyncio.run(main())
"""


class Member:
    """One process of several on a directory; `pid` is the server that it started, or 0."""

    def __init__(self, directory: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", MEMBER, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def order(self, text: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        return self.answer()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def members() -> Iterator[list[Member]]:
    every: list[Member] = []
    yield every
    for member in every:
        member.kill()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc").exists() else True


def raw(directory: Path) -> Raw:
    return Raw(path=str(directory / SOCKET))


@pytest.mark.parametrize("name", ["short", "long-" + "x" * 180])
async def test_the_engine_starts_it_whatever_the_path_s_length(tmp_path: Path, name: str) -> None:
    server = EmbeddedServer(tmp_path / name)
    engine = Standalone(Address((), path=server.socket_path), before_connect=server.ensure)
    await start_within(engine, 5)
    try:
        assert await engine.execute(Channel.PLAIN, "k", "SET", "k", "v") == b"OK"
        assert server.pid is not None
        pid = server.pid
    finally:
        await engine.close()
        await server.close()
    assert not alive(pid)


async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    engine = Standalone(Address((), path=server.socket_path), before_connect=server.ensure)
    await start_within(engine, 5)
    try:
        await asyncio.gather(*(engine.execute(Channel.PLAIN, "k", "SET", f"k{n}", n) for n in range(1000)))
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        loop = asyncio.get_running_loop()
        found = await engine.execute(Channel.PLAIN, "k", "DBSIZE", deadline=loop.time() + 10)
        assert found == 1000
    finally:
        await engine.close()
        await server.close()


def test_of_four_processes_one_starts_it(tmp_path: Path, members: list[Member]) -> None:
    members.extend(Member(tmp_path) for _ in range(4))
    started = [int(member.answer()) for member in members]
    assert sorted(started)[:3] == [0, 0, 0]
    assert int(raw(tmp_path)("INFO", "server").decode().split("process_id:")[1].split()[0]) == max(started)


def test_it_dies_with_its_owner_and_another_takes_over_with_the_data(tmp_path: Path, members: list[Member]) -> None:
    owner, other = Member(tmp_path), None
    members.append(owner)
    pid = int(owner.answer())
    other = Member(tmp_path)
    members.append(other)
    assert other.answer() == "0"
    raw(tmp_path)("SET", "k", "v")
    owner.kill()
    wait_for(lambda: not alive(pid))
    successor = int(other.order("ensure"))
    assert successor not in (0, pid)
    assert raw(tmp_path)("GET", "k") == b"v"


def test_closing_a_joined_one_leaves_it_and_closing_an_owned_one_ends_it(tmp_path: Path, members: list[Member]) -> None:
    owner = Member(tmp_path)
    members.append(owner)
    pid = int(owner.answer())
    other = Member(tmp_path)
    members.append(other)
    other.answer()
    assert other.order("close") == "closed"
    assert alive(pid)
    assert owner.order("close") == "closed"
    assert not alive(pid)


async def test_a_terminal_s_ctrl_c_does_not_reach_it(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    await server.ensure()
    try:
        assert server.pid is not None
        assert os.getpgid(server.pid) != os.getpgid(0)
    finally:
        await server.close()


async def test_a_broken_file_is_told_with_the_server_s_own_words(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    await server.ensure()
    raw(tmp_path)("SET", "k", "v")
    await server.close()
    (log,) = (tmp_path / "valkey-aof").glob("*.incr.aof")
    log.write_bytes(b"*3\r\n$3\r\nSET\r\n!!!!\r\n" + log.read_bytes())
    broken = EmbeddedServer(tmp_path)
    with pytest.raises(EngineUnavailable, match=r"(?i)bad file format"):
        await broken.ensure()
    await broken.close()


async def test_files_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    server = EmbeddedServer(tmp_path)
    await server.ensure()
    await server.close()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "valkey-aof", "valkey.lock", "valkey.log"}


async def test_a_directory_that_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InvalidInput) as caught:
            EmbeddedServer(directory)
        assert caught.value.field == "data_dir"
