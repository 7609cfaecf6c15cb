"""The project of `django_site` under gunicorn: processes of two workers, and requests as browsers send them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

from tests.support.patience import wait_for
from tests.support.real_servers import free_port, listens

_QUIET = re.compile(r"\[\d+\] \[INFO\]|^\s*$|^Executing <.* took [\d.]+ seconds$")
"""What is no error; development mode tells of each step that a busy machine makes slow."""


class Answer(NamedTuple):
    """The answer to one request."""

    status: int
    body: Any


class Browser:
    """Requests with the cookies that were set."""

    def __init__(self, port: int, cookies: dict[str, str] | None = None) -> None:
        self._port = port
        self.cookies = {} if cookies is None else cookies

    def twin(self) -> Browser:
        """Another tab: with the cookies as they are."""
        return Browser(self._port, dict(self.cookies))

    def reaches(self) -> bool:
        """Whether somebody listens."""
        return listens(self._port)

    def get(self, path: str) -> Answer:
        """A request over a connection of its own."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            connection.request("GET", path, headers={"Cookie": cookies} if cookies else {})
            response = connection.getresponse()
            body = response.read()
            for name, value in response.getheaders():
                if name.lower() == "set-cookie":
                    cookie, _, content = value.partition(";")[0].partition("=")
                    self.cookies[cookie] = content
                    if "Max-Age=0" in value:
                        del self.cookies[cookie]
            is_json = response.getheader("Content-Type") == "application/json"
            return Answer(response.status, json.loads(body) if is_json else body.decode())
        finally:
            connection.close()


class Gunicorn:
    """Two workers with four threads each, in Python's development mode, with warnings as errors."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.port = free_port()
        self._directory = directory
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Serve."""
        command: Sequence[str] = (
            *(sys.executable, "-X", "dev", "-W", "error", "-m", "gunicorn", "--workers", "2", "--threads", "4"),
            *("--bind", f"127.0.0.1:{self.port}", "--graceful-timeout", "20", "--timeout", "120"),
            *("--worker-tmp-dir", str(self._directory), "--no-control-socket", *options),
            "tests.support.django_site.wsgi",
        )
        self._errors = TemporaryFile()  # noqa: SIM115 (closed when it is stopped)
        self._process = subprocess.Popen(command, env=os.environ | self._environment, stderr=self._errors)
        wait_for(self.browser().reaches)

    def stop(self) -> list[str]:
        """End it as an operator does; what it has written that is no news of its start and end."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(60)
        self._process = None
        self._errors.seek(0)
        lines = self._errors.read().decode().splitlines()
        self._errors.close()
        return [line for line in lines if not _QUIET.search(line)] + ([f"status {code}"] if code else [])

    def close(self) -> None:
        """End it, whatever it does."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._errors.close()

    def browser(self) -> Browser:
        """A browser without cookies."""
        return Browser(self.port)
