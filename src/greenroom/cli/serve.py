"""`greenroom serve`: the service, in one process or several."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import rich_click as click
import uvicorn
from uvicorn.supervisors import Multiprocess

from greenroom.cli.options import read_settings, settings_options
from greenroom.engine import Address
from greenroom.service.settings import Settings
from greenroom.service.worker import METRICS_VARIABLE, build

DRAIN = 10
"""Seconds that open answers have to finish after SIGINT or SIGTERM."""


@click.command()
@settings_options()
def serve(**flags: str | None) -> None:
    """Run the service. Without settings it needs nothing: Valkey and the record are embedded."""
    settings, made = read_settings(flags).with_token()
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Children read the same settings from the environment.
    os.environ.update(settings.environ())
    config = uvicorn.Config(
        build if settings.workers == 1 else "greenroom.service.worker:build",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        http="httptools",
        ws="websockets-sansio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=DRAIN,
    )
    socket = config.bind_socket()
    click.echo(_banner(settings, socket.getsockname()[1], made=made))
    if settings.workers == 1:
        server = uvicorn.Server(config)
        server.run([socket])
        sys.exit(0 if server.started else 1)
    with tempfile.TemporaryDirectory(prefix="greenroom-metrics-") as directory:
        os.environ[METRICS_VARIABLE] = str(Path(directory))
        Multiprocess(config, [socket]).run()


def _banner(settings: Settings, port: int, *, made: bool) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    cache = settings.cache_address
    engine = str(Address.parse(cache)) if cache else f"embedded Valkey in {settings.data_dir}"
    lines = [
        f"Greenroom   http://{host}:{port}   (documentation at /docs)",
        f"engine      {engine}",
        f"record      {settings.database_url or f'SQLite in {settings.data_dir}'}",
    ]
    if settings.workers > 1:
        lines.append(f"workers     {settings.workers}")
    if made:
        lines.append(f"editors     Authorization: Bearer {settings.editor_token}   (made for this run)")
    return "\n".join(lines)
