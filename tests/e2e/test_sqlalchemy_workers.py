"""The example over SQLAlchemy as its users run it: two workers of uvicorn, one of which may be killed at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.patience import wait_for
from tests.support.real_servers import Server, free_port, listens
from tests.support.repository import ROOT
from tests.support.running_service import NO_TLS

STARTED = "Application startup complete"


@contextmanager
def workers(directory: Path, address: str, example: str) -> Iterator[str]:
    """The address of an example that two workers serve."""
    log, port = directory / "log", free_port()
    command = [sys.executable, "-m", "uvicorn", f"{example}:app", "--port", str(port), "--workers", "2"]
    database = f"sqlite+aiosqlite:///{directory / 'shop.db'}"
    # Also in the workers, which uvicorn starts as programs of their own.
    strict = {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error"}
    environment = os.environ | strict | {"VALKEY_URL": address, "DATABASE": database}
    environment["PYTHONPATH"] = str(ROOT / "examples")
    subprocess.run([sys.executable, ROOT / "examples" / f"{example}.py"], env=environment, check=True, timeout=60)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=directory, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        wait_for(lambda: log.read_text().count(STARTED) == 2 or process.poll() is not None, 60)
        assert process.poll() is None, log.read_text()
        wait_for(lambda: listens(port))  # what it says comes first
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert "raddr=" not in log.read_text(), "a connection was left open"  # uvicorn leaves its own listener open


def asked(url: str, times: int = 24) -> set[str]:
    """What both workers answer: each request has a connection of its own, which one of them takes."""
    return {httpx.get(url, trust_env=False, verify=NO_TLS).text for _ in range(times)}


def test_a_change_by_one_worker_is_answered_by_both(valkey: Server, tmp_path: Path) -> None:
    with workers(tmp_path, valkey.address, "shop_sqlalchemy") as site:
        url = f"{site}/names/1"
        for name in ("Chair", "Stool", "Bench"):
            httpx.put(url, params={"name": name}, trust_env=False, verify=NO_TLS).raise_for_status()
            assert asked(url) == {f'"{name}"'}
        tags = {httpx.get(url, trust_env=False, verify=NO_TLS).headers["etag"] for _ in range(12)}
        assert len(tags) == 1
        (tag,) = tags
        statuses = {
            httpx.get(url, headers={"If-None-Match": tag}, trust_env=False, verify=NO_TLS).status_code
            for _ in range(12)
        }
        assert statuses == {304}
