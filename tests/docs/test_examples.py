"""Each program in `examples/` does what it says, and is short."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from greenroom.testing.http import Client, http_client
from tests.support.django_server import Browser
from tests.support.patience import wait_for
from tests.support.real_servers import Server, free_port
from tests.support.repository import ROOT

EXAMPLES = ROOT / "examples"
LONG = {"own_record.py"}
"""A whole record, which is as long as it is."""


def loaded(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An example, loaded as the file that it is."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def client(
    request: pytest.FixtureRequest, valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Client]:
    """A client of the example that the test names."""
    monkeypatch.setenv("VALKEY_URL", valkey.address)
    async with http_client(loaded(request.param, monkeypatch).app) as client:
        yield client


def of(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("client", [name], indirect=True)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_has_less_than_60_lines(path: Any) -> None:
    assert path.name in LONG or len(path.read_text("utf-8").splitlines()) < 60


def test_the_caches_alone_are_read_and_dropped(valkey: Server) -> None:
    run = subprocess.run(
        [sys.executable, EXAMPLES / "only_caches.py"],
        env=os.environ | {"VALKEY_URL": valkey.address},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        "Product(region='eu', sku=1, name='Chair') None",
        "[1, 3] ['Chair', 'Table']",
        "Product(region='eu', sku=1, name='Zabuton') [3, 2]",
    ]


@of("only_sessions")
async def test_the_sessions_alone_keep_a_basket_over_the_log_in(client: Client) -> None:
    assert (await client.get("/basket")).json() == []
    assert (await client.post("/basket?item=tea")).json() == ["tea"]
    assert "Max-Age=2592000" in (await client.post("/log-in/7?remember")).headers["set-cookie"]
    assert list(client.cookies) == ["__Host-shop"]
    assert (await client.post("/basket?item=milk")).json() == ["tea", "milk"]
    assert (await client.post("/log-out-everywhere")).status_code == 204
    assert (await client.post("/log-out-everywhere")).status_code == 401


@of("only_progress")
async def test_the_progress_alone_is_followed_to_its_end(client: Client) -> None:
    path = (await client.post("/exports")).json()["events"]
    events = (await client.get(path)).text
    assert json.loads(events.rpartition("data: ")[2]) == {"status": "done", "rows": 1000}
    assert (await client.get("/exports/99")).status_code == 404


@of("store_and_rate_limits")
async def test_the_store_counts_and_limits(client: Client) -> None:
    assert [(await client.get("/visits/home")).json() for _ in range(2)] == [1, 2]
    assert [(await client.post("/baskets/u1", json=item)).json() for item in ("tea", "milk")] == [1, 2]
    assert (await client.post("/orders/u1")).json() == ["tea", "milk"]
    assert (await client.post("/orders/u1")).json() == []
    await client.post("/orders/u1")
    refused = await client.post("/orders/u1")
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60


@of("shop_fastapi")
async def test_the_shop_in_fastapi_reads_lists_and_changes(client: Client) -> None:
    assert (await client.get("/products/eu/1")).json() == {"sku": 1, "name": "Chair 1"}
    assert (await client.get("/products/eu/99")).status_code == 404
    assert (await client.get("/products/eu?page=3")).json() == [21, 22, 23, 24, 25]
    bad = await client.get("/products/with%20space/1")
    assert (bad.status_code, "region" in bad.text) == (422, True)
    tag = (await client.get("/products/eu/1")).headers["etag"]
    assert (await client.head("/products/eu/1", headers={"If-None-Match": tag})).status_code == 304
    assert (await client.put("/products/eu/1?name=Stool")).is_success
    assert (await client.get("/products/eu/1")).json()["name"] == "Stool"


@of("jobs_fastapi")
async def test_the_jobs_in_fastapi_are_followed_to_their_end(client: Client) -> None:
    assert (await client.post("/exports")).status_code == 401
    await client.post("/log-in/ana")
    number = (await client.post("/exports")).json()
    first = await client.get(f"/exports/{number}")
    assert json.loads(first.text.rpartition("data: ")[2]) == {"status": "done", "rows": 1000}
    (last,) = re.findall(r"^id: (.*)$", first.text, re.MULTILINE)[-1:]
    assert (await client.get(f"/exports/{number}", headers={"Last-Event-ID": last})).status_code == 204
    assert (await client.get("/exports/99")).status_code == 404


@of("shop_litestar")
async def test_the_shop_in_litestar_reads_and_signs_in(client: Client) -> None:
    assert (await client.get("/products/eu/1")).json() == {"sku": 1, "name": "Chair 1"}
    assert (await client.get("/products/eu/99")).status_code == 404
    assert (await client.get("/products/with%20space/1")).status_code == 422
    assert (await client.get("/me")).status_code == 401
    await client.post("/log-in/ana")
    assert (await client.get("/me")).json()["user_id"] == "ana"


def test_the_site_in_django_reads_counts_and_remembers(valkey: Server, tmp_path: Path) -> None:
    port = free_port()
    environment = {"VALKEY_URL": valkey.address, "DATABASE": str(tmp_path / "site.sqlite3")}
    command = [sys.executable, str(EXAMPLES / "site_django.py"), "runserver", "--noreload", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.DEVNULL) as process:
        try:
            browser = Browser(port)
            wait_for(browser.reaches)
            assert browser.get("/s1/7").body == {"title": None, "seen": [7], "visits": 1}
            assert browser.get("/s1/7?title=New").body == {"title": "New", "seen": [7, 7], "visits": 2}
            assert browser.get("/s1/7?title=Newer").body == {"title": "Newer", "seen": [7, 7, 7], "visits": 3}
        finally:
            process.terminate()


def test_the_example_of_tests_passes_as_its_users_run_it() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "greenroom.testing.fixtures",
        "-p",
        "no:asyncio",
        "-p",
        "no:valkey",
    ]
    command += ["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", ".", "test_only_sessions.py"]
    run = subprocess.run(command, cwd=EXAMPLES, capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "3 passed" in run.stdout
