"""What tests of TLS share: certificates made by `openssl`, and a proxy that ends TLS before a server without it."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import threading
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.real_servers import Server, free_port

WITH_OPENSSL = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl, which makes the certificates, is missing"
)


@dataclass(frozen=True)
class Certificate:
    """Files in PEM."""

    cert: Path
    key: Path


class Authority:
    """Who signs certificates.

    Arguments:
        directory: where its files are.
        sloppy: whether extensions are left out that RFC 5280 wants, and Python from 3.13 on with it.
    """

    def __init__(self, directory: Path, name: str = "authority", *, sloppy: bool = False) -> None:
        self._directory = directory
        self._sloppy = sloppy
        self.name = name
        self.itself = Certificate(directory / f"{name}.pem", directory / f"{name}.key")
        openssl(
            *("req", "-x509", "-subj", f"/CN={name}", "-days", "2", *_key(self.itself.key)),
            *("-addext", "basicConstraints=critical,CA:TRUE", "-out", self.itself.cert),
            *(() if sloppy else ("-addext", "keyUsage=critical,keyCertSign,cRLSign")),
        )

    @property
    def cacert(self) -> Path:
        """What those trust who trust it."""
        return self.itself.cert

    def signs(self, name: str, *names: str, days: int = 2) -> Certificate:
        """A certificate.

        Arguments:
            name: the name of its files.
            names: whom it is for, as `DNS:cache.test` or `IP:127.0.0.1`.
            days: how long it is valid from now on; below zero it has expired.
        """
        made = Certificate(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        request, extensions = self._directory / f"{name}.csr", self._directory / f"{name}.ext"
        lines = ["" if self._sloppy else "authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash"]
        lines += [f"subjectAltName={','.join(names)}"] if names else []
        extensions.write_text("\n".join(lines) + "\n")
        openssl("req", "-new", "-subj", f"/CN={name}", *_key(made.key), "-out", request)
        openssl(
            *("x509", "-req", "-in", request, "-CA", self.itself.cert, "-CAkey", self.itself.key, "-CAcreateserial"),
            *("-days", days, "-extfile", extensions, "-out", made.cert),
        )
        return made


def _key(path: Path) -> tuple[object, ...]:
    return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path


def openssl(*arguments: object) -> None:
    """Run `openssl`."""
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)


class TlsProxy:
    """Ends TLS before a server, on a loop of its own: the test's may be blocked, or be none.

    Arguments:
        server: who is behind it.
        shows: the certificate that it shows.
        wants: whose certificates a client must have; None lets anyone in.
    """

    def __init__(self, server: Server, shows: Certificate, *, wants: Path | None = None) -> None:
        self._behind = server.port
        self.port = free_port()
        self.taken = 0
        """Connections whose handshake was done."""
        self._shows = shows
        self._wants = wants
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._listener: asyncio.Server | None = None
        self._open: set[asyncio.Task[Any]] = set()

    def __enter__(self) -> TlsProxy:
        self._thread.start()
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def address(self, host: str = "127.0.0.1", **options: object) -> str:
        """Its address, with these options."""
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"valkeys://{host}:{self.port}" + (f"?{query}" if query else "")

    def up(self, shows: Certificate | None = None) -> None:
        """Take connections, with another certificate where one is given."""
        self._shows = shows or self._shows
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._shows.cert, self._shows.key)
        if self._wants is not None:
            context.load_verify_locations(self._wants)
            context.verify_mode = ssl.CERT_REQUIRED
        self._listener = self._call(asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=context))

    def down(self) -> None:
        """Take no more, and cut those there are."""

        async def close() -> None:
            assert self._listener is not None
            self._listener.close()
            for task in self._open:
                task.cancel()
            if self._open:
                await asyncio.wait(self._open)

        self._call(close())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.taken += 1
        try:
            behind, ahead = await asyncio.open_connection("127.0.0.1", self._behind)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass(reader, ahead))
                group.create_task(_pass(behind, writer))
        except (OSError, asyncio.CancelledError, ExceptionGroup):
            pass
        finally:
            self._open.discard(task)
            writer.transport.abort()

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, until it ends; then the other direction ends as well."""
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
