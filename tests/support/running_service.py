"""`greenroom serve` as tests start it: a process of its own on a free port, with a data directory of its own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from uuid import uuid4

import httpx

from tests.support.forked_programs import PATIENT, Forked, start
from tests.support.patience import wait_for
from tests.support.real_servers import Raw

PROGRAM = Path(sys.executable).with_name("greenroom")
TOKEN = "token-of-the-editors-in-tests"
CONTROL_TOKEN = "token-of-the-operators-in-tests"
API = "/api/v1"
FREELY = {
    "GREENROOM_SIGNUPS_PER_HOUR": "10000",
    "GREENROOM_SESSIONS_PER_MINUTE": "10000",
    "GREENROOM_STREAMS_PER_ADDRESS": "10000",
}
"""Bounds that nobody reaches: all clients of a test have one address."""
KEPT = httpx.Limits(keepalive_expiry=2)
"""The server closes a connection that is idle for 5 s: a client must not be using it in that moment."""
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""What every HTTP client of a test is given: made for each, with all public certificates, it takes 25 ms."""
_SERVERS = {f"--{name}-url" for name in ("valkey", "cache", "session")} | {
    f"GREENROOM_{name}_URL" for name in ("VALKEY", "CACHE", "SESSION")
}
"""Flags and variables that name a Valkey which a service has not started itself."""
_ADDRESS = re.compile(r"http://\S+:\d+")


def environment(env: dict[str, str] | None = None) -> dict[str, str]:
    """The test run's own environment without the variables of Greenroom, and with the given ones."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GREENROOM_")} | (env or {})


def command(*arguments: object, stdin: str = "", env: dict[str, str] | None = None) -> CompletedProcess[str]:
    """Run `greenroom` with these arguments to its end."""
    with tempfile.TemporaryDirectory() as directory:
        given, output, errors = (Path(directory, name) for name in ("given", "output", "errors"))
        given.write_text(stdin)
        line = list(map(str, arguments))
        running = start(line, environment(env), output=output, errors=errors, given=given)
        try:
            code = running.wait(90)
        finally:
            running.kill()
        return CompletedProcess(line, code, output.read_text(), errors.read_text())


def refusal(run: CompletedProcess[str]) -> str:
    """The one line that a run which failed has printed."""
    assert run.returncode > 0, run.stdout
    assert run.stdout == ""
    (line,) = run.stderr.splitlines()
    return line


class Service:
    """One `greenroom serve`.

    Arguments:
        directory: its data directory is `data` in here, and what it prints goes to `output` in here.
        flags: further flags of `serve`.
        env: further environment variables, which go before `FREELY`; those of the test run that begin with
            `GREENROOM_` are left out.
            Without `GREENROOM_EDITOR_TOKEN` the service makes a token, and `token` is read from its file.
        data_dir: the data directory, where it is shared with another service.
        under: a program that starts it, with its arguments.
        executed: whether the program is executed, and not forked from a process that has imported it; what is forked
            hashes passwords cheaply.
        hurried: whether it gives up on its Valkey as soon as the product does, and not after a minute. So is one whose
            Valkey is the test's own, and what is executed.
    """

    def __init__(
        self,
        directory: Path,
        *flags: str,
        env: dict[str, str] | None = None,
        data_dir: Path | None = None,
        under: Sequence[str] = (),
        executed: bool = False,
        hurried: bool = True,
    ) -> None:
        self.data_dir = data_dir or directory / "data"
        self._printed = directory / "output"
        self._flags = flags
        self._under = under
        self._executed = executed or bool(under)
        # What a killed service leaves among the temporary files goes with the test's directory.
        self._env = environment({"TMPDIR": str(directory)} | FREELY | (env or {}))
        if not (hurried or _SERVERS & {*flags, *self._env}):
            self._env[PATIENT] = "1"
        self._process: subprocess.Popen[bytes] | Forked | None = None
        self.url = ""
        self.token = ""
        self.client = httpx.Client(verify=NO_TLS)

    @property
    def process(self) -> subprocess.Popen[bytes] | Forked:
        """The main process; only between `start` and `stop`."""
        assert self._process is not None, "not started"
        return self._process

    @property
    def editor(self) -> dict[str, str]:
        """The headers that an editor sends."""
        return {"Authorization": f"Bearer {self.token}"}

    def launch(self) -> None:
        """Start it, and return at once."""
        arguments = ["serve", "--port", "0", "--data-dir", str(self.data_dir), *self._flags]
        if not self._executed:
            self._process = start(arguments, self._env, output=self._printed)
            return
        with self._printed.open("wb") as printed:
            # A session of its own: an interrupt of the test run is not one of the service.
            self._process = subprocess.Popen(
                [*self._under, str(PROGRAM), *arguments],
                env=self._env,
                stdout=printed,
                stderr=printed,
                start_new_session=True,
            )

    def start(self) -> Service:
        """Start it, and return when it is ready."""
        self.launch()
        try:
            wait_for(self._is_announced, 60)
            self.client = httpx.Client(base_url=self.url, timeout=15, limits=KEPT, verify=NO_TLS)
            wait_for(self.is_ready, 60)
        except BaseException:
            self.kill()
            raise
        return self

    def is_ready(self) -> bool:
        """Whether `/health/ready` answers 200."""
        self._must_live()
        try:
            return self.client.get("/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def output(self) -> str:
        """Everything printed so far, standard output and error."""
        return self._printed.read_text(errors="replace")

    def raw(self) -> Raw:
        """A client of the embedded Valkey that bypasses the service."""
        return Raw(path=str(self.data_dir / "valkey.sock"))

    def logged(self) -> str:
        """Its output, with the lines of all answers so far: they are written up to 10 ms after the answer."""
        mark = uuid4().hex
        self.client.get("/health/live", headers={"X-Request-Id": mark})
        wait_for(lambda: mark in self.output())
        return self.output()

    def stop(self, number: int = signal.SIGINT, seconds: float = 40) -> int:
        """End it by a signal to the main process alone, and return its exit status."""
        self.client.close()
        process, self._process = self.process, None
        process.send_signal(number)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"it did not end within {seconds} s:\n{self.output()}") from None

    def kill(self) -> None:
        """End it as a crash would, if it lives."""
        self.client.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _is_announced(self) -> bool:
        self._must_live()
        banner, made = _ADDRESS.search(self.output()), self.data_dir / "editor-token"
        self.url = banner.group() if banner else ""
        given = self._env.get("GREENROOM_EDITOR_TOKEN", "")
        self.token = given or (made.read_text().strip() if banner else "")
        return bool(self.url and self.token)

    def _must_live(self) -> None:
        assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.output()}"


Serve = Callable[..., Service]
"""Starts a service, given its flags, and the rest by keyword; see the fixture `serve`."""


@asynccontextmanager
async def running(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """An application between its start-up and its shutdown, in this process."""
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    lifespan = asyncio.create_task(app({"type": "lifespan", "state": {}}, said.get, heard.put))
    await said.put({"type": "lifespan.startup"})
    assert (await heard.get())["type"] == "lifespan.startup.complete"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
        yield client
    await said.put({"type": "lifespan.shutdown"})
    await lifespan
