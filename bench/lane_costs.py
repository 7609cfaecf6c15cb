"""What commands cost a real server in CPU, for `bench.simulate`: `python -m bench.lane_costs`.

The server's own count (`INFO cpu`), so that the client's share and other work of the machine are left out.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from bench.common import BODY
from tests.support.real_cluster import Cluster
from tests.support.real_servers import Raw, Server, valkey_binary

CLIENTS = 400
ROUNDS = 40


def used(raw: Raw) -> float:
    """CPU seconds that a server has used."""
    lines = bytes(raw("INFO", "cpu")).decode().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return float(fields["used_cpu_user"]) + float(fields["used_cpu_sys"])


def cost(raw: Raw, work: Callable[[], object], times: int) -> float:
    """Microseconds of the server for one of so many calls, without those of asking."""
    asked = used(raw)
    began = used(raw)
    asking = began - asked
    for _ in range(times):
        work()
    return (used(raw) - began - asking) / times * 1e6


def packed(*words: str | bytes) -> bytes:
    """A command as it is sent."""
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def connected(port: int, *commands: bytes) -> socket.socket:
    """A connection that has sent some commands, the last of which answers `+PONG`."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(b"".join(commands) + packed("PING"))
    until(connection, b"+PONG\r\n")
    return connection


def until(connection: socket.socket, end: bytes) -> None:
    """Read to an ending."""
    data = b""
    while not data.endswith(end):
        data += connection.recv(65_536)


def main() -> None:
    """Measure and print."""
    tracked = packed("HELLO", "3"), packed("CLIENT", "TRACKING", "ON")
    lua = files("greenroom.engine.lua")
    scripts = [lua.joinpath(name).read_bytes() for name in ("get_or_lease.lua", "fill.lua", "drop.lua")]
    loads = [packed("SCRIPT", "LOAD", script) for script in scripts]
    with tempfile.TemporaryDirectory(prefix="greenroom-bench-") as name:
        server = Server(valkey_binary(), Path(name))
        server.start()
        raw, reader = server.raw(), connected(server.port, *tracked)
        raw("SET", "k", BODY)

        def batch(command: bytes) -> Callable[[], object]:
            def send() -> None:
                reader.sendall(command * 64 + packed("PING"))
                until(reader, b"+PONG\r\n")

            return send

        print(f"GET of 1 KB, tracked, 64 at once: {cost(raw, batch(packed('GET', 'k')), 100) / 65:.1f} µs")
        sha = bytes(raw("SCRIPT", "LOAD", scripts[0]))
        ask = packed("EVALSHA", sha, "3", "k", "lease:{k}", "absent:{k}", "token", "1000", "")
        print(f"get_or_lease, a hit: {cost(raw, batch(ask), 100) / 65:.1f} µs")
        for count in (4, 64, CLIENTS):
            clients = [connected(server.port, *tracked) for _ in range(count)]
            spent = 0.0
            for _ in range(ROUNDS):
                for one in clients:
                    one.sendall(packed("GET", "k"))
                    until(one, b"\r\n")
                spent += cost(raw, lambda: raw("SET", "k", BODY), 1)
                for one in clients:
                    until(one, b"k\r\n")
            print(f"SET of a key that {count} connections have read: {spent / ROUNDS:.0f} µs")
            for one in clients:
                one.close()
        spent = cost(raw, lambda: connected(server.port, *tracked, *loads).close(), 200)
        print(f"a connection with HELLO, TRACKING, {len(loads)} SCRIPT LOAD, PING: {spent:.0f} µs")
        server.kill()
        cluster = Cluster(valkey_binary(), Path(name), timeout=60_000)
        cluster.start()
        member = cluster.members[0]
        asking = member.raw()
        print(f"CLUSTER SHARDS of 3 + 3: {cost(asking, lambda: asking('CLUSTER', 'SHARDS'), 200):.0f} µs")
        cluster.stop()


if __name__ == "__main__":
    main()
