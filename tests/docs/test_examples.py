"""Each program in `examples/` does what it says, and is short."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from greenroom.keyspace.typescript import typescript
from greenroom.testing.http import Client, http_client
from tests.support.django_server import Browser
from tests.support.node_packages import MODULES, node_program
from tests.support.patience import until, wait_for
from tests.support.real_servers import Server, free_port
from tests.support.repository import ROOT

EXAMPLES = ROOT / "examples"
LONG = {"own_record.py"}
"""A whole record, which is as long as it is."""
STRICT = (sys.executable, "-X", "dev", "-W", "error", "-W", "ignore:This process:DeprecationWarning")
"""Python in its development mode, with warnings as errors but for that of each fork beside threads."""
PATIENT = """
import runpy, sys
from pytest import MonkeyPatch
from tests.support.patience import be_patient
be_patient(MonkeyPatch())
runpy.run_path(sys.argv[1], run_name="__main__")
"""
"""Runs an example as the program that it is, and its leases do not lapse."""

pytestmark = pytest.mark.filterwarnings("error")


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


@pytest.mark.parametrize("path", sorted([*EXAMPLES.glob("*.py"), *EXAMPLES.glob("*.ts")]), ids=lambda path: path.name)
def test_an_example_has_less_than_60_lines(path: Any) -> None:
    assert path.name in LONG or len(path.read_text("utf-8").splitlines()) < 60


FILES = sorted(path for path in EXAMPLES.rglob("*.*") if path.parent.name != "__pycache__")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_example_belongs_to_a_page_and_to_a_test(path: Path) -> None:
    name = path.relative_to(EXAMPLES)
    pages, tests = (_texts(ROOT / folder, kind) for folder, kind in (("docs", "*.md"), ("tests", "*.py")))
    if name.parent == Path():
        assert any(f"examples/{name}" in page for page in pages), "no page leads to it"
    assert any(re.search(rf"\b{re.escape(path.stem)}\b", text) for text in tests), "no test runs it"


@functools.cache
def _texts(folder: Path, kind: str) -> list[str]:
    return [file.read_text("utf-8") for file in folder.rglob(kind)]


def printed(name: str, *, logs: str = "Executing <", patient: bool = False, **env: str | None) -> list[str]:
    """The lines that an example prints which is a program; a variable that is None is not set.

    Arguments:
        logs: how a line begins that it may log.
        patient: whether its leases outlive a machine that stands still.
    """
    program = [*STRICT, *(("-c", PATIENT) if patient else ()), str(EXAMPLES / name)]
    variables = {key: value for key, value in (os.environ | env).items() if value is not None}
    run = subprocess.run(program, env=variables, capture_output=True, text=True, timeout=100)
    # Development mode tells of each step that a busy machine makes slow.
    errors = [line for line in run.stderr.splitlines() if not line.startswith(("Executing <", logs))]
    assert (run.returncode, errors) == (0, [])
    return run.stdout.splitlines()


def test_the_caches_alone_are_read_and_dropped(valkey: Server) -> None:
    assert printed("only_caches.py", VALKEY_URL=valkey.address) == [
        "Product(region='eu', sku=1, name='Chair') None",
        "[1, 3] ['Chair', 'Table']",
        "Product(region='eu', sku=1, name='Zabuton') [3, 2]",
    ]


def test_a_group_drops_what_belongs_to_it_and_nothing_else(valkey: Server) -> None:
    assert printed("groups.py", VALKEY_URL=valkey.address) == [
        "first: chairs eu, chairs us, lamps eu",
        "again: nothing",
        "after a new chair: chairs eu, chairs us",
        "after new prices: chairs eu, lamps eu",
        "[] ['Sofa']",
    ]


def test_threads_share_loads_and_read_their_own_writes(valkey: Server) -> None:
    assert printed("threads.py", VALKEY_URL=valkey.address) == [
        "102000 earned, 400 sold",
        "50 loads of 50 prices, in 400 reads",
        "now 99",
    ]


def test_a_program_stands_on_the_platform() -> None:
    assert printed("on_the_platform.py") == ["['Night']", "queued ", "error no voices here"]


def test_the_region_of_dogpile_makes_a_value_once(valkey: Server) -> None:
    first = ["made 3", "made 4", "[9, 16, 9]", "made 3", "9"]
    assert printed("only_dogpile.py", VALKEY_URL=valkey.address) == first
    assert printed("only_dogpile.py", VALKEY_URL=valkey.address) == ["[9, 16, 9]", "made 3", "9"]


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
async def test_the_shop_in_litestar_reads_changes_and_reports(client: Client) -> None:
    assert (await client.get("/products/eu/1")).json() == {"sku": 1, "name": "Chair 1"}
    assert (await client.get("/products/eu/99")).status_code == 404
    assert (await client.get("/products/with%20space/1")).status_code == 422
    await client.put("/products/eu/1?name=Stool")
    assert (await client.get("/products/eu/1")).json()["name"] == "Stool"
    reports = [(await client.get("/report")).json() for _ in range(2)]
    assert reports == [25] * 2


def test_the_site_in_django_reads_counts_and_remembers(valkey: Server, tmp_path: Path) -> None:
    port = free_port()
    environment = {"VALKEY_URL": valkey.address, "DATABASE": str(tmp_path / "site.sqlite3")}
    command = [*STRICT, str(EXAMPLES / "site_django.py"), "runserver", "--noreload", f"127.0.0.1:{port}"]
    errors = tmp_path / "errors"
    with (
        errors.open("wb") as output,
        subprocess.Popen(command, env=os.environ | environment, stderr=output) as process,
    ):
        try:
            browser = Browser(port)
            wait_for(browser.reaches)
            assert browser.get("/s1/7").body == {"title": None, "seen": [7], "visits": 1}
            assert browser.get("/s1/7?title=New").body == {"title": "New", "seen": [7, 7], "visits": 2}
            assert browser.get("/s1/7?title=Newer").body == {"title": "Newer", "seen": [7, 7, 7], "visits": 3}
        finally:
            process.terminate()
    assert not re.search("Warning|Traceback|ignored", errors.read_text()), errors.read_text()


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


@pytest.mark.parametrize("embedded", [False, True], ids=["address", "embedded"])
def test_forked_workers_share_a_load_and_a_fork_of_an_open_room_is_told(valkey: Server, embedded: bool) -> None:
    # The embedded server ends with the worker that started it; one that is still open says so, and takes over.
    logs = "cannot use the server at unix:///" if embedded else "Executing <"
    lines = printed("forked_workers.py", logs=logs, patient=True, VALKEY_URL=None if embedded else valkey.address)
    assert lines == [
        *["50 reads of Chair 1"] * 4,
        "loads: 1",
        "from which this one was forked: make and open a Greenroom after the fork",
    ]


@of("operating")
async def test_the_room_is_operated_by_metrics_a_hook_and_readiness(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ((ready := await client.get("/ready")).status_code, ready.text) == (200, "ok")
    assert (await client.get("/prices/5")).text == "20"
    with pytest.raises(ZeroDivisionError):  # the loader's own exception, for its first caller: 500 on a server
        await client.get("/prices/10")
    held_back = await client.get("/prices/10")
    assert (held_back.status_code, held_back.headers["retry-after"]) == (503, "1")
    metrics = (await client.get("/metrics")).text.splitlines()
    assert 'greenroom_cache_reads_total{keyspace="price",outcome="loaded"} 1.0' in metrics
    assert 'greenroom_cache_errors_total{keyspace="price",kind="load"} 1.0' in metrics
    assert "trouble: price load" in capsys.readouterr().out


async def test_another_language_reads_and_drops(
    valkey: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tsc = node_program("tsc")
    monkeypatch.setenv("VALKEY_URL", valkey.address)
    shop: Any = loaded("only_caches", monkeypatch)
    (tmp_path / "node_modules").symlink_to(MODULES)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "shop.ts").write_text(typescript(shop.room.declarations.keyspaces))
    shutil.copy(EXAMPLES / "other_languages.ts", tmp_path)

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    flags = ["--strict", "--target", "es2022", "--module", "nodenext", "--skipLibCheck", "--types", "node"]
    await asyncio.to_thread(run, tsc, *flags, "other_languages.ts", "shop.ts")
    async with shop.room:
        await shop.product("eu", 1)
        await shop.page("eu", 1)
        address = f"redis://127.0.0.1:{valkey.port}"
        assert await asyncio.to_thread(run, "node", "other_languages.js", address) == "Chair\ndropped\n"
        await until(lambda: shop.product.peek("eu", 1) is None and shop.page.peek("eu", 1) is None)
