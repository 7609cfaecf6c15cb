"""`greenroom serve`: the service, in one process or several."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shlex
import signal
import socket
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from time import monotonic

import rich_click as click
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from greenroom import private_files
from greenroom.engine import Address
from greenroom.engine.embedded import EmbeddedServer
from greenroom.errors import InvalidInput
from greenroom.printable import printable
from greenroom_platform.cli.options import (
    check_recordings,
    make_directory,
    read_settings,
    recordings_apart,
    settings_options,
    write_trouble,
)
from greenroom_platform.cli.restart_backoff import RestartBackoff
from greenroom_platform.http import logs, worker_counts
from greenroom_platform.http.editor_token import NAME as EDITOR_TOKEN_FILE
from greenroom_platform.http.editor_token import kept_token
from greenroom_platform.http.http_protocol import HttpProtocol
from greenroom_platform.http.open_files import raise_open_files
from greenroom_platform.http.settings import Settings
from greenroom_platform.http.websocket_protocol import WebSocketProtocol
from greenroom_platform.http.worker import METRICS_VARIABLE, build
from greenroom_platform.platform import DATABASE_FILE
from greenroom_platform.storage import is_mongodb, load_sample, open_records, shown_database, sqlite_path

log = logging.getLogger("greenroom.http")

_SAID = 64 * 1024
"""Bytes of a message from a listener; they have nothing to say."""
STALLED = 120.0
"""Seconds after which a connection is cut off whose other side takes nothing, or does not acknowledge it."""
_UNSENT = 128 * 1024
"""Bytes that wait in the system for one connection, beyond what is on its way; it would hold megabytes."""
DRAIN = 10
"""Seconds that open answers have to finish after SIGINT or SIGTERM."""


@click.command()
@settings_options()
def serve(**flags: str | None) -> None:
    """Run the service. It needs no settings: Valkey and the record are embedded."""
    settings = read_settings(flags)
    logs.configure(format_=settings.log_format, level=settings.log_level)
    raise_open_files()  # workers inherit it
    config = server_config(settings)
    with _listening(settings, config.backlog) as listening:
        asyncio.run(_prepare(settings))
        made = settings.editor_token is None
        if made:
            settings = replace(settings, editor_token=kept_token(settings.data_dir))
            settings.check_tokens()
        # This process and its children read the same settings from the environment.
        os.environ.update(settings.environ())
        click.echo(printable(_banner(settings, listening.getsockname()[1], made=made), lines=True))
        sys.exit(_run(config, listening) if settings.workers == 1 else _run_workers(config, listening))


def server_config(settings: Settings) -> uvicorn.Config:
    """How the server serves."""
    return uvicorn.Config(
        build if settings.workers == 1 else "greenroom_platform.http.worker:build",
        factory=True,
        workers=settings.workers,
        http=HttpProtocol,
        ws=WebSocketProtocol,
        ws_per_message_deflate=False,  # what is sent is audio, which does not get smaller
        ws_max_size=_SAID,
        # The pings are for proxies that close what is silent. Their answers say nothing: who plays as they take has a
        # ping behind minutes of audio. Who has gone, the system finds out: see `STALLED`.
        ws_ping_timeout=None,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=DRAIN,
    )


def _listening(settings: Settings, backlog: int) -> socket.socket:
    """The socket of the service. Who connects before it is ready waits, and nobody else can take the port meanwhile."""
    listening = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # What is accepted has these too. They are Linux's; elsewhere the system's own patience counts.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STALLED * 1000))
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(backlog)
    except (OSError, UnicodeError, TypeError) as error:  # the last for text that is no UTF-8
        listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        if isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES):
            reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be listened on: {reason}"
            remedy = "choose another with --port or GREENROOM_PORT (0 = any free port)"
            raise InvalidInput("--port", f"port {settings.port} {reason}", remedy) from None
        remedy = "name an address of this machine"
        raise InvalidInput("--host", f"{settings.host} cannot be listened on: {reason}", remedy) from None
    return listening


async def _prepare(settings: Settings) -> None:
    """Find out what cannot work while one process can still say so in one line, and fill an empty record.

    The workers could fill it as well, but one that came late to it would undo an edit made through another.
    """
    embedded = None in (settings.cache_address, settings.session_address)
    if settings.recordings_url is not None:
        await check_recordings(settings.recordings_url)
    if embedded or None in (settings.database_url, settings.recordings_url):
        make_directory(settings.data_dir)
    if embedded:
        await EmbeddedServer(settings.data_dir).close()
    records = await open_records(settings.database_url or settings.data_dir / DATABASE_FILE)
    try:
        if (trouble := write_trouble(records)) is not None:
            log.warning("starting anyway, for reading only: %s", trouble)
        elif settings.loads_sample and await records.is_empty():
            # The rows that this leaves in the outbox are sent when a room opens, before anything is read.
            loaded = await load_sample(records)
            log.info("loaded the sample: %d topics, %d snippets", loaded.topics, loaded.snippets)
    finally:
        await records.close()
    if (apart := recordings_apart(settings)) is not None:
        log.warning("%s", apart)
    # Each once: the record usually lies in the data directory.
    own = settings.data_dir, *_record(settings), settings.data_dir / EDITOR_TOKEN_FILE
    places = {path.resolve(): path for path in own}
    for path in private_files.open_to_others(list(places.values())):
        log.warning("other users of this machine may use %s; `chmod go= %s` prevents that", path, path)


def _record(settings: Settings) -> tuple[Path, ...]:
    """The file of the record and its directory, where it is a file."""
    if settings.database_url is None:
        return (settings.data_dir / DATABASE_FILE,)
    if is_mongodb(settings.database_url):
        return ()
    record = sqlite_path(settings.database_url)
    return record.parent, record


def _run(config: uvicorn.Config, listening: socket.socket) -> int:
    server = _Server(config)
    for number in (signal.SIGINT, signal.SIGTERM):
        # When it has ended, the server raises the signal again for whoever listened before it: ending was asked for,
        # and is no failure. A signal that comes before it listens counts as well.
        signal.signal(number, server.handle_exit)
    server.run([listening])
    return 0 if server.started else STARTUP_FAILURE


def _run_workers(config: uvicorn.Config, listening: socket.socket) -> int:
    with private_files.temporary_directory("greenroom-metrics-") as directory:
        os.environ[METRICS_VARIABLE] = str(directory)
        workers = _Workers(config, [listening], directory)
        workers.run()
    return STARTUP_FAILURE if workers.failed else 0


class _Server(uvicorn.Server):
    """A server whose second Ctrl-C cuts the open answers off, and still closes the room."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.force_exit:
            await self.lifespan.shutdown()


class _Workers(Multiprocess):
    """Processes that share the port; one that dies is replaced, after a pause where it has hardly lived.

    One of the first that cannot start ends them all: a setting is wrong. A later one that cannot does not, as long as
    others serve: the record may be busy for the moment.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], shared: Path) -> None:
        super().__init__(config, sockets)
        self._shared = shared
        self.failed = False
        """Whether they were ended by one that could not start."""
        self._first: list[Process] = []
        self._places: defaultdict[int, RestartBackoff] = defaultdict(RestartBackoff)

    def init_processes(self) -> None:
        super().init_processes()
        self._first = list(self.processes)

    def keep_subprocess_alive(self) -> None:
        # The original also asks each worker for a sign of life. It waits seconds for it where one dies just then, and
        # hears no signal meanwhile; and it kills one that is only slow to start.
        for index, worker in enumerate(self.processes):
            place, now = self._places[index], monotonic()
            place.held(worker, now)
            if self.should_exit.is_set() or worker.process.is_alive():
                continue
            needed = worker in self._first or not any(one.process.is_alive() for one in self.processes)
            if worker.exitcode == STARTUP_FAILURE and needed:
                self.failed = True
                self.should_exit.set()
                return
            if not place.due(now):
                continue
            if place.worth_a_line(now):
                log.warning("worker %s ended with status %s and is replaced", worker.pid, worker.exitcode)
            # Before there is a successor, which may get the number of one that has died.
            worker_counts.fold(self._shared, {one.pid for one in self.processes if one.process.is_alive()})
            self.processes[index] = Process(self.config, self.sockets)
            self.processes[index].start()

    def terminate_all(self) -> None:
        # This process holds the port as well: left open, it would take connections that no worker answers any more.
        for listening in self.sockets:
            listening.close()
        super().terminate_all()


def _banner(settings: Settings, port: int, *, made: bool) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    caches, sessions = _server(settings.cache_address, settings), _server(settings.session_address, settings)
    lines = [
        f"Greenroom   http://{host}:{port}   (documentation at /docs; Ctrl-C stops it)",
        f"caches      {caches}" + (", also for sessions" if caches == sessions else ""),
        *([f"sessions    {sessions}"] if caches != sessions else []),
        f"database    {_database(settings)}",
        f"recordings  in {settings.recordings_url or settings.data_dir}",
    ]
    if settings.workers > 1:
        lines.append(f"workers     {settings.workers}")
    if made:
        token = shlex.quote(str(settings.data_dir / EDITOR_TOKEN_FILE))
        header = f'"Authorization: Bearer $(cat {token})"'
        lines.append(f"editors     sign in at /edit, or change topics and snippets with the header {header}")
        lines.append("            (the token stays until you delete the file or set GREENROOM_EDITOR_TOKEN)")
    return "\n".join(lines)


def _database(settings: Settings) -> str:
    if settings.database_url is None:
        return f"SQLite, {settings.data_dir / DATABASE_FILE}"
    return shown_database(settings.database_url)


def _server(address: str | None, settings: Settings) -> str:
    return str(Address.parse(address)) if address else f"a Valkey of its own, with its files in {settings.data_dir}"
