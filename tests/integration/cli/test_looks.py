"""`greenroom size`, `explain` and `status` on a real server, as the viewer alone; and `audit` as a command."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner, Result

from greenroom.cli.group import group
from greenroom.engine import Address
from greenroom.engine.operator import Pace, find_shards, looking
from greenroom.inspection.explain import declared_of, look_up
from greenroom.inspection.sampling import Bounds
from greenroom.inspection.size import HEADROOM, Measure
from tests.support.acl_roles import denied
from tests.support.operated import Operated
from tests.support.planted import INDEX, SNIPPET, TOPIC, filled
from tests.support.real_cluster import Cluster
from tests.support.real_servers import free_port
from tests.support.repository import ROOT

SNIPPET_KEY = f"cache:snippet:{SNIPPET}"
ANOTHER = "the key of another snippet"
SHOP = """
from datetime import timedelta
from greenroom import Greenroom, Keyspace

PRODUCT = Keyspace("product:{sku}", dict[str, int], ttl=timedelta(hours=1))
room = Greenroom(ADDRESS, sessions=False)


@room.cached(PRODUCT, groups=["products"])
async def product(sku: str) -> dict[str, int] | None:
    return {"price": 7} if sku == "a" else None
"""


@pytest.fixture
async def full(operated: Operated, tmp_path: Path) -> Path:
    """The path of a record, whose caches are full on the server."""
    path = tmp_path / "record.sqlite3"
    async with filled(operated.admin, path):
        operated.caught_up()
    operated.raw("ACL", "LOG", "RESET")
    return path


def another(operated: Operated) -> str:
    """The key of another snippet than `SNIPPET`, which is cached."""
    return str(next(key.decode() for key in operated.raw("KEYS", "cache:snippet:*") if key.decode() != SNIPPET_KEY))


def run(*arguments: str, exit_code: int = 0) -> Result:
    """A command, in this process."""
    result = CliRunner().invoke(group, list(arguments), catch_exceptions=False)
    assert result.exit_code == exit_code, result.output
    return result


# Size -------------------------------------------------------------------------------------------------


async def test_the_memory_of_each_keyspace_is_measured(operated: Operated, full: Path) -> None:
    for number in range(10):
        operated.raw("SET", f"others:{number}", "x" * 1000)
    operated.caught_up()
    measure = Measure(INDEX, Bounds(), Pace(10_000))
    found = await measure.run([Address.parse(operated.viewer)])
    (server,) = measure.servers
    assert server.at_replica
    sizes = {(one.kind, one.name): one for one in server.sizes}
    snippets = sizes["value", "snippet"]
    exact = sum(operated.raw("MEMORY", "USAGE", key) for key in operated.raw("KEYS", "cache:snippet:*"))
    assert (snippets.keys, snippets.sampled, snippets.low, snippets.high) == (20, 20, snippets.bytes, snippets.bytes)
    assert 0.9 * exact < snippets.bytes < 1.1 * exact
    assert snippets.lifetimes == {"30 min": 20}
    assert snippets.biggest[0].bytes >= snippets.biggest[-1].bytes
    assert sizes["nobody", "others"].keys == server.of_nobody == 10
    assert sizes["group", "group"].lifetimes == {"none": 1}
    assert server.keys == server.looked == sum(one.keys for one in server.sizes)
    assert server.projected >= HEADROOM * server.used * 0.9
    assert [one.kind for one in found] == ["keys_of_nobody"]


async def test_a_sample_tells_the_sum_within_its_bounds(operated: Operated) -> None:
    for number in range(3000):
        operated.raw("SET", f"cache:snippet:s{number}", "x" * (number % 700), "EX", 6000)
    operated.caught_up()
    measure = Measure(INDEX, Bounds(keys=2000, sample=100), Pace(10_000))
    found = await measure.run([Address.parse(operated.viewer)])
    (server,) = measure.servers
    (size,) = server.sizes
    exact = sum(operated.raw("MEMORY", "USAGE", f"cache:snippet:s{number}") for number in range(3000))
    assert size.sampled <= 100
    assert size.low < size.bytes < size.high
    # Four times what it is wrong by at most 19 times of 20: a test must not fail every twentieth time.
    assert abs(size.bytes - exact) < 4 * (size.high - size.bytes)
    assert found == []
    ten = Measure(INDEX, Bounds(keys=2000, sample=100), Pace(10_000), times=1000)
    assert [one.kind for one in await ten.run([Address.parse(operated.viewer)])] == ["too_small"]


def test_size_is_printed_and_a_program_can_read_it(operated: Operated, full: Path) -> None:
    viewer = ("--valkey-url", operated.service, "--viewer-url", operated.viewer, "--rate", "10000")
    printed = run("size", *viewer).stdout
    assert "  snippet " in printed
    assert "20 keys" in printed
    assert "projected" in printed
    (server,) = json.loads(run("size", *viewer, "--json").stdout)["servers"]
    assert {one["name"] for one in server["sizes"]} >= {"snippet", "topic", "session", "life", "group"}
    assert denied(operated.raw) == []


# Explain ----------------------------------------------------------------------------------------------


def test_a_key_is_explained_with_its_companions_and_the_record(operated: Operated, full: Path) -> None:
    servers = ("--valkey-url", operated.service, "--viewer-url", operated.viewer, "--database-url", f"sqlite:{full}")
    key = f"cache:snippets:topic:{TOPIC}:page:1"
    told = json.loads(run("explain", key, *servers, "--json").stdout)
    assert (told["kind"], told["keyspace"], told["held_by"]) == ("value", "snippet_page", "cache")
    assert told["parts"] == {"topic_id": TOPIC, "page_number": "1"}
    assert told["companions"]["lease"] == f"lease:{{{key}}}"
    assert told["groups"] == [f"greenroom:group:{{snippet_pages:{TOPIC}}}"]
    assert (told["type"], told["record"], told["fresh"], told["findings"]) == ("string", "the same", True, [])
    assert 0 < told["left_ms"] <= 1_800_000
    printed = run("explain", SNIPPET_KEY, *servers).stdout
    assert "record     the same" in printed
    assert denied(operated.raw) == []


@pytest.mark.parametrize(
    ("key", "plant", "kinds", "code"),
    [
        ("other:x", (), ["nobody"], 2),
        ("cache:topic:a:b", (), ["stray"], 2),
        ("cache:topic:x", ("SET", "cache:topic:x", "{"), ["immortal", "undecodable"], 1),
        (SNIPPET_KEY, ("COPY", ANOTHER, SNIPPET_KEY, "REPLACE"), ["stale"], 2),
        ("lease:{cache:topic:x}", ("SET", "lease:{cache:topic:x}", "a:b"), ["orphan_lease"], 1),
        ("greenroom:active:{sessions}", (), [], 0),
    ],
)
def test_what_is_wrong_with_a_key_is_explained(
    operated: Operated, full: Path, key: str, plant: tuple[str, ...], kinds: list[str], code: int
) -> None:
    if plant:
        operated.raw(*(another(operated) if word is ANOTHER else word for word in plant))
    servers = ("--valkey-url", operated.viewer, "--database-url", f"sqlite:{full}")
    told = json.loads(run("explain", key, *servers, "--json", exit_code=code).stdout)
    assert [one["kind"] for one in told["findings"]] == kinds


def test_without_a_server_the_declarations_tell(tmp_path: Path) -> None:
    key = "greenroom:life:{session:abc}"
    told = json.loads(run("explain", key, "--offline", "--data-dir", str(tmp_path / "none"), "--json").stdout)
    assert (told["kind"], told["keyspace"], told["of"]) == ("companion", "session", "session:abc")
    assert told["server"] is None


async def test_on_a_cluster_a_key_is_where_its_slot_is(steady: Cluster) -> None:
    steady.fresh()
    steady.raw()("SET", "cache:topic:x", "{")
    told = declared_of(INDEX, "cache:topic:x")
    (shard,) = [one for one in await find_shards(Address.parse(steady.address)) if one.owns("cache:topic:x")]
    async with looking(shard) as look:
        await look_up(told, INDEX, look, shard, None)
    assert told.slot == steady.raw()("CLUSTER", "KEYSLOT", "cache:topic:x")
    assert told.type == "string"


# Audit, as a command ----------------------------------------------------------------------------------


def test_an_audit_is_printed_and_mended_as_a_command(operated: Operated, full: Path) -> None:
    servers = ("--valkey-url", operated.service, "--viewer-url", operated.viewer, "--rate", "10000")
    flags = (*servers, "--database-url", f"sqlite:{full}")
    printed = run("audit", *flags).stdout
    assert "snippet: 20 met, 20 looked at, 20 compared with the record" in printed
    assert printed.endswith("0 errors, 0 warnings.\n")
    assert operated.raw("COPY", another(operated), SNIPPET_KEY, "REPLACE") == 1
    operated.caught_up()
    told = json.loads(run("audit", "snippet", *flags, "--json", exit_code=2).stdout)
    assert [(one["kind"], one["key"]) for one in told["faults"]] == [("stale", SNIPPET_KEY)]
    mended = run("audit", *flags, "--fix").stdout
    assert f"dropped: {SNIPPET_KEY} of snippet differs from the record" in mended
    assert operated.raw("EXISTS", SNIPPET_KEY) == 0
    assert denied(operated.raw) == []


def test_what_cannot_be_compared_is_said(operated: Operated, full: Path, tmp_path: Path) -> None:
    servers = ("--valkey-url", operated.viewer, "--rate", "10000", "--data-dir", str(tmp_path / "none"))
    told = json.loads(run("audit", *servers, "--json", exit_code=1).stdout)
    assert [one["kind"] for one in told["notes"]] == ["not_compared"]
    assert "no record at" in told["notes"][0]["what"]


def test_a_room_of_one_s_own_is_audited_by_its_loaders(
    operated: Operated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shopof23.py").write_text(SHOP.replace("ADDRESS", repr(operated.admin)))
    monkeypatch.chdir(tmp_path)
    for sku, price in (("a", 7), ("b", 9), ("c", 8)):
        operated.raw("SET", f"product:{sku}", json.dumps({"price": price}), "EX", 60)
    operated.caught_up()
    result = run("audit", "--keyspaces", "shopof23:room", "--rate", "10000", "--json", exit_code=2)
    told = json.loads(result.stdout)
    assert {(one["kind"], one["key"]) for one in told["faults"]} == {("stale", "product:b"), ("stale", "product:c")}
    assert [one["compared"] for one in told["keyspaces"]] == [3 + 2]


PRELUDE = """
from datetime import timedelta
from greenroom import Keyspace, Keyspaces

SHOP = Keyspaces(Keyspace("shop:product:{sku}", dict[str, int], ttl=timedelta(hours=1)))


class Database:
    async def product(self, sku):
        return {"price": 7} if sku == "a" else None


@asynccontextmanager
async def open_database():
    yield Database()
"""


def test_the_manuals_way_to_open_one_s_own_record_works(
    operated: Operated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "keyspaces.md").read_text("utf-8")
    (block,) = [one for one in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "OPERATED" in one]
    assert "valkey://cache.internal:6379" in block
    imports, rest = block.split("\n\n\n", 1)
    code = f"{imports}\n{PRELUDE}\n\n{rest.replace('valkey://cache.internal:6379', operated.admin)}"
    (tmp_path / "operated23.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    for sku, price in (("a", 7), ("b", 9)):
        operated.raw("SET", f"shop:product:{sku}", json.dumps({"price": price}), "EX", 60)
    operated.caught_up()
    result = run("audit", "--keyspaces", "operated23:OPERATED", "--rate", "10000", "--json", exit_code=2)
    assert [(one["kind"], one["key"]) for one in json.loads(result.stdout)["faults"]] == [("stale", "shop:product:b")]


# Status -----------------------------------------------------------------------------------------------


@contextmanager
def service(health: dict[str, str], metrics: str, code: int = 200, tokens: list[Any] | None = None) -> Iterator[str]:
    """A service that says this of itself; it notes the tokens that it is sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            ready = self.path == "/health/ready"
            if tokens is not None:
                tokens.append(self.headers["Authorization"])
            body = (json.dumps(health) if ready else metrics).encode()
            self.send_response(code if ready else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


METRICS = """
# TYPE greenroom_cache_reads_total counter
greenroom_cache_reads_total{keyspace="topic",outcome="near"} 90.0
greenroom_cache_reads_total{keyspace="topic",outcome="loaded"} 10.0
greenroom_cache_errors_total{keyspace="topic",kind="broken"} 2.0
greenroom_sessions_active 3.0
"""
WELL = {"status": "ok", "engine": "ok", "database": "ok"}


def test_a_healthy_program_is_said_to_be_so(operated: Operated) -> None:
    with service(WELL, METRICS) as url:
        printed = run("status", "--valkey-url", operated.viewer, "--service", url).stdout
    lines = printed.splitlines()
    assert lines[0] == "Healthy: the server answers, and of 100 reads 90.0% were answered without the record."
    assert "  topic: 100 reads, 90.0% without the record, 2 broken" in lines
    assert "  snippet: nothing read" in lines
    assert any("primary, version" in line and "1 replicas" in line for line in lines)
    assert "  sessions active: 3" in lines


@pytest.mark.parametrize(
    ("health", "code", "kind", "words"),
    [
        (
            WELL | {"status": "degraded", "engine": "no reply", "since": "2026-01-01T12:00:00Z"},
            200,
            "without_engine",
            "the service cannot use its server: no reply (since 2026-01-01T12:00:00Z)",
        ),
        (
            WELL | {"status": "degraded", "database": "cannot be written: full"},
            200,
            "record_read_only",
            "the record is ill: cannot be wr",
        ),
        (
            {"status": "unavailable", "engine": "ok", "database": "closed"},
            503,
            "unavailable",
            "the service is unavailable: the record",
        ),
        (
            {"status": "draining", "engine": "ok", "database": "ok"},
            503,
            "unavailable",
            "the service is draining: a proxy",
        ),
    ],
)
def test_what_is_ill_stands_first_with_what_it_costs(
    operated: Operated, health: dict[str, str], code: int, kind: str, words: str
) -> None:
    with service(health, METRICS, code) as url:
        printed = run("status", "--valkey-url", operated.viewer, "--service", url, exit_code=2).stdout
        told = json.loads(
            run("status", "--valkey-url", operated.viewer, "--service", url, "--json", exit_code=2).stdout
        )
    assert [one["kind"] for one in told["findings"]] == [kind]
    assert printed.startswith(words), printed
    assert "docs/operations.md" in printed


def test_the_editor_token_is_sent_to_one_s_own_service_alone(operated: Operated, tmp_path: Path) -> None:
    (tmp_path / "editor-token").write_text("a-token-that-was-made\n")
    seen: list[Any] = []
    with service(WELL, METRICS, tokens=seen) as url:
        settings = ("--valkey-url", operated.viewer, "--data-dir", str(tmp_path), "--port")
        run("status", *settings, url.rpartition(":")[2])
        assert seen == ["Bearer a-token-that-was-made"] * 2
        seen.clear()
        run("status", *settings, "1", "--service", url)
        assert seen == [None, None]


def test_a_service_or_server_that_is_away_is_named(operated: Operated) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    printed = run("status", "--valkey-url", operated.viewer, "--service", away, exit_code=2).stdout
    assert printed.startswith(f"{away} does not answer (")
    assert run("status", "--valkey-url", operated.viewer, "--no-service").stdout.startswith(
        "Healthy: the server answers."
    )
    told = json.loads(run("status", "--valkey-url", operated.viewer, "--service", away, "--json", exit_code=2).stdout)
    assert [one["kind"] for one in told["findings"]] == ["no_service"]
    gone = f"valkey://127.0.0.1:{free_port()}"
    told = json.loads(run("status", "--valkey-url", gone, "--no-service", "--json", exit_code=2).stdout)
    assert told["sentence"].startswith(f"{gone} does not answer")


# What all have in common ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["doctor", "audit", "size", "explain", "status"])
def test_what_cannot_be_looked_at_is_status_2_in_one_line(name: str, tmp_path: Path) -> None:
    key = ("cache:topic:x",) if name == "explain" else ()
    result = run(name, *key, "--data-dir", str(tmp_path / "none"), exit_code=2)
    (line,) = result.stderr.splitlines()
    assert line == "greenroom: --valkey-url: no server is known; name it, as --valkey-url valkey://HOST:6379"
    result = run(name, *key, "--valkey-url", "http://x", exit_code=2)
    assert len(result.stderr.splitlines()) == 1


def test_a_keyspace_that_is_not_declared_is_refused(operated: Operated) -> None:
    result = run("audit", "planet", "--valkey-url", operated.viewer, exit_code=2)
    assert "there is no planet; name some of session, topic" in result.stderr
