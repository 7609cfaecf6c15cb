"""The shop in Flask as its users run it: two workers of gunicorn, each with threads."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.patience import wait_for
from tests.support.real_servers import Server, free_port
from tests.support.repository import ROOT
from tests.support.running_service import NO_TLS
from tests.support.sync_rooms import together

CHANGES = 40


@pytest.fixture(params=[[], ["--preload"]], ids=["each", "preload"])
def site(request: pytest.FixtureRequest, valkey: Server, tmp_path: Path) -> Iterator[str]:
    port, log = free_port(), tmp_path / "log"
    strict = "-X", "dev", "-W", "error", "-W", "ignore:This process:DeprecationWarning"  # of a fork beside threads
    command = [
        sys.executable,
        *strict,
        "-m",
        "gunicorn",
        "--workers",
        "2",
        "--threads",
        "4",
        "--bind",
        f"127.0.0.1:{port}",
    ]
    environment = os.environ | {"VALKEY_URL": valkey.address, "PYTHONPATH": str(ROOT / "examples")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *request.param, "shop_flask:app"], cwd=tmp_path, env=environment, stdout=output, stderr=output
        )
    try:
        wait_for(lambda: log.read_text().count("Booting worker") == 2 or process.poll() is not None, 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        code = process.wait(30)
    assert code == 0, log.read_text()
    assert not re.search("Traceback|Warning|ignored in", log.read_text()), log.read_text()
    assert "SIGKILL" not in log.read_text()


def posted(site: str, path: str, token: str | None = None, content: str = "") -> httpx.Response:
    cookies = {} if token is None else {"greenroom": token}
    return httpx.post(
        site + path, content=content, cookies=cookies, trust_env=False, verify=NO_TLS, timeout=30
    ).raise_for_status()


def test_two_workers_lose_no_change_and_end_for_both(site: str) -> None:
    token = posted(site, "/log-in/u1").cookies["greenroom"]

    def change(thread: int) -> set[str]:
        return {posted(site, f"/members/m{thread}-{number}", token, "x").text for number in range(CHANGES // 4)}

    workers = set[str]().union(*together([lambda thread=thread: change(thread) for thread in range(4)]))  # type: ignore[misc]
    assert len(workers) == 2
    read = httpx.get(site, cookies={"greenroom": token}, trust_env=False, verify=NO_TLS).json()
    assert len([name for name in read if name.startswith("m")]) == CHANGES
    assert posted(site, "/log-out-everywhere", token).json() == {"ended": 1}
    assert {
        httpx.get(site, cookies={"greenroom": token}, trust_env=False, verify=NO_TLS).text.strip() for _ in range(12)
    } == {"{}"}


def test_two_workers_answer_one_cached_read_alike(site: str) -> None:
    first = httpx.get(f"{site}/names/1", trust_env=False, verify=NO_TLS)
    assert (first.status_code, first.json()) == (200, "Chair")
    headers = {"If-None-Match": first.headers["etag"]}
    statuses = {
        httpx.get(f"{site}/names/1", headers=headers, trust_env=False, verify=NO_TLS).status_code for _ in range(8)
    }
    assert statuses == {304}
