"""An application of one's own under several workers that were given no server to share."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.patience import wait_for
from tests.support.real_servers import free_port

APPLICATION = """
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from greenroom import Greenroom


@asynccontextmanager
async def lifespan(app):
    async with Greenroom({arguments}):
        yield


app = Starlette(lifespan=lifespan)
"""
STARTED = "Application startup complete"


@contextmanager
def uvicorn(directory: Path, arguments: str, workers: int) -> Iterator[Path]:
    """The log of an application that has started."""
    (directory / "shop.py").write_text(APPLICATION.format(arguments=arguments))
    path = directory / "log"
    command = [sys.executable, "-m", "uvicorn", "shop:app", "--port", str(free_port()), "--workers", str(workers)]
    with path.open("wb") as log:
        process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(lambda: path.read_text().count(STARTED) == workers, 60)
        yield path
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.parametrize(
    ("arguments", "workers", "warned"), [("", 2, True), ("", 1, False), ("data_dir='data'", 2, False)]
)
def test_workers_that_share_no_server_are_told_how_to(
    tmp_path: Path, arguments: str, workers: int, warned: bool
) -> None:
    with uvicorn(tmp_path, arguments, workers) as log:
        said = log.read_text()
    assert len(re.findall("another worker of this program has an embedded Valkey", said)) == warned
    assert ("data_dir=" in said, "valkey://HOST:6379" in said) == (warned, warned)
