"""ACL: the roles that `greenroom acl` prints suffice for all that we do, and for nothing else."""

from __future__ import annotations

import ast
import hashlib
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

import greenroom
from greenroom import Cache, Greenroom, Outcome
from greenroom.acl import PLACEHOLDER, Holds, Role, cache_keys, rules
from greenroom.errors import EngineRefused, InvalidInput
from greenroom_platform.cli.declarations import DECLARATIONS
from greenroom_platform.definitions import SNIPPET_PAGE, SNIPPET_PAGES
from greenroom_platform.models import Snippet, Topic
from greenroom_platform.testing.records_changes import NOON
from tests.support.acl_roles import (
    DENIALS,
    address,
    allow,
    called_commands,
    denied,
    printed,
    secret,
    use_everything,
    working,
)
from tests.support.episode_caches import EPISODE, Episode, Loads
from tests.support.patience import until, wait_for
from tests.support.real_cluster import Cluster
from tests.support.real_servers import Raw, Server
from tests.support.running_service import API, Serve, command, refusal

_OURS = {"acl|log", "acl|setuser", "config|resetstat", "keys"}
"""What these tests call by the side, and nobody else may."""
SKY = msgspec.json.encode(
    Topic(topic_id="sky", display_name="Sky", description="Air.", keywords=(), created_at=NOON, updated_at=NOON)
)
LOOKING = {"scan.py", "operator.py"}
_AT_A_CLUSTER = {"cluster|info", "cluster|shards", "asking", "readonly"}


@pytest.fixture
def raw(server: Server) -> Iterator[Raw]:
    """The administrator of a server on which the three roles have users."""
    raw = server.raw()
    for role in Role:
        allow(raw, role)
    raw("CONFIG", "RESETSTAT")
    yield raw
    raw.close()


@pytest.mark.parametrize("refused", ["get", "zadd", "mget"])
def test_health_names_a_command_that_is_refused_until_it_is_carried_out(
    server: Server, raw: Raw, serve: Serve, refused: str
) -> None:
    """A read's own, one inside of a script, and one of the sessions."""
    service = serve("--work", "off", "--valkey-url", address(server, "service"))

    def use() -> dict[str, str]:
        service.client.get(f"{API}/snippets", params={"topic_id": "ocean_science"})
        service.client.get(f"{API}/session", headers={"Authorization": f"Bearer {'x' * 43}"})
        health = service.client.get("/health/ready")
        assert health.status_code == 200
        return dict(health.json())

    assert use()["status"] == "ok"
    raw("ACL", "SETUSER", "greenroom-service", f"-{refused}")
    raw("FLUSHALL")
    # The service learns of the flush by a push: a page of its own memory may be served until that comes.
    wait_for(lambda: use()["status"] == "degraded")
    told = use()
    # Redis 7.0 does not say what of a script it refuses.
    names = (refused.upper(), refused.upper() if refused == "mget" else "a command of a script")
    told_of = [f"the server refuses {one}; give the user what `greenroom acl` prints" for one in names]
    assert any(one in told["engine"] for one in told_of)
    raw("ACL", "SETUSER", "greenroom-service", f"+{refused}")
    raw("FLUSHALL")
    # What was loaded without the server is served for a second, and asks it nothing.
    wait_for(lambda: use() == {"status": "ok", "engine": "ok", "database": "ok"})


# What is enough ---------------------------------------------------------------------------------------


def test_a_service_and_its_worker_do_all_they_do_and_nothing_is_denied(server: Server, raw: Raw, serve: Serve) -> None:
    url, work = address(server, "service"), address(server, "worker")
    env = {"GREENROOM_EDITOR_TOKEN": "token-of-the-editors-in-tests", "GREENROOM_VALKEY_URL": url}
    service = serve("--sample", "off", "--work", "off", env=env)
    with working(service.data_dir, {"GREENROOM_VALKEY_URL": work}) as told:
        use_everything(service)
        topic = SKY.decode()
        loaded = command("load", "--data-dir", service.data_dir, "-", stdin=topic, env={"GREENROOM_VALKEY_URL": work})
        assert loaded.returncode == 0, loaded.stderr
        assert service.client.get(f"{API}/topics/sky").status_code == 200
    assert service.stop() == 0
    assert denied(raw) == []
    for text in (service.output(), told.read_text(), loaded.stderr):
        assert not any(word in text for word in DENIALS)
        assert secret("service") not in text
        assert secret("worker") not in text

    # Least privilege: what was called is what is allowed, but for what only a cluster or a database number asks for.
    allowed = rules(Role.SERVICE, DECLARATIONS)
    assert allowed is not None
    called = called_commands(raw) - _OURS
    assert called <= allowed.commands, "it is called and not allowed"
    never = allowed.commands - called - _AT_A_CLUSTER - {"select"}
    assert not never, "it is allowed and never called"


def test_a_service_is_denied_nothing_after_losing_scripts_and_server(server: Server, raw: Raw, serve: Serve) -> None:
    service = serve("--work", "off", env={"GREENROOM_VALKEY_URL": address(server, "service")})
    raw("SCRIPT", "FLUSH")
    raw("FLUSHALL")
    raw("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    wait_for(lambda: service.client.get(f"{API}/topics").headers["cache-status"].startswith("greenroom; hit"), 30)
    assert service.client.patch(f"{API}/session/preferences", json={}).status_code == 200
    assert denied(raw) == []
    assert "NOPERM" not in service.output()


@pytest.mark.parametrize("replica_reads", [False, True])
async def test_on_a_cluster_the_rules_suffice_through_lost_connections(steady: Cluster, replica_reads: bool) -> None:
    steady.fresh()
    nodes = [member.raw() for member in steady.members]
    for node in nodes:
        allow(node, Role.SERVICE)
        node("ACL", "LOG", "RESET")
        node("CONFIG", "RESETSTAT")
    login = f"//greenroom-service:{secret('service')}@"
    try:
        async with Greenroom(steady.address.replace("//", login), replica_reads=replica_reads) as room:
            assert room.unavailable is None
            pages = room.cache(SNIPPET_PAGE, load=page, groups=[SNIPPET_PAGES], near_for=timedelta(0))
            for number in range(1, 33):
                await pages.get(topic_id="a", page_number=number)
            live, token = await room.sessions.start(user_id="u1")
            for node in nodes:
                node("CLIENT", "KILL", "USER", "greenroom-service")
            await until(lambda: room.unavailable is not None)
            await until(lambda: room.unavailable is None)
            assert (await pages.get_result(topic_id="a", page_number=1)).outcome is Outcome.HIT
            await pages.invalidate_group(topic_id="a")
            assert (await pages.get_result(topic_id="a", page_number=1)).outcome is Outcome.LOADED
            assert await room.sessions.read(token) is not None
            assert await room.sessions.end(live.session_id)
            # Replicas are connected to beside all that.
            await until(lambda: not replica_reads or any("readonly" in called_commands(node) for node in nodes))
        assert "zmscore" in {name for node in nodes for name in called_commands(node)}, (
            "what was registered is asked for"
        )
        assert ("readonly" in {name for node in nodes for name in called_commands(node)}) is replica_reads
        assert [denied(node) for node in nodes] == [[]] * len(nodes)
    finally:
        for node in nodes:
            node("ACL", "DELUSER", "greenroom-service")
            node.close()


async def page(topic_id: str, page_number: int) -> tuple[Snippet, ...]:
    """A page that holds nothing."""
    return ()


def test_environments_on_one_server_cannot_reach_each_other(server: Server, serve: Serve) -> None:
    raw = server.raw()
    allow(raw, Role.SERVICE, "st*g[1]:")
    flags = "--sample", "off", "--work", "off", "--key-prefix", "st*g[1]:"
    service = serve(*flags, env={"GREENROOM_VALKEY_URL": address(server, "service")})
    assert service.client.patch(f"{API}/session/preferences", json={}).status_code == 200
    for _ in range(2):
        answer = service.client.get(f"{API}/topics")
    assert answer.headers["cache-status"].startswith("greenroom; hit")
    assert denied(raw) == []
    assert all(key.startswith(b"st*g[1]:") or b"{st*g[1]:" in key for key in raw("KEYS", "*"))
    other = logged_in(server, "service")
    for key in ("cache:topics:all", "session:a", "stag1:session:a", "lease:{cache:topics:all}"):
        assert "NOPERM" in str(other("GET", key))


async def test_a_keyspace_of_one_s_own_needs_its_keys_besides(server: Server, raw: Raw) -> None:
    @asynccontextmanager
    async def read() -> AsyncIterator[Cache[Episode]]:
        async with Greenroom(address(server, "worker")) as room:
            cache = room.cache(EPISODE, load=Loads(), groups=["episodes:{episode_id}"])
            assert await cache.get("e1") == Episode("e1"), "it is loaded, come what may"
            yield cache

    async with read() as cache:
        assert raw("EXISTS", "cache:episode:e1") == 0
        with pytest.raises(EngineRefused):
            await cache.invalidate("e1")
    assert denied(raw)
    raw("ACL", "LOG", "RESET")
    keys = cache_keys("", [EPISODE], ["episodes:{episode_id}"])
    assert keys == (
        "cache:episode:*",
        "lease:{cache:episode:*}",
        "absent:{cache:episode:*}",
        "greenroom:mark:{cache:episode:*}",
        "greenroom:generation:{cache:episode:*}",
        "greenroom:generation:{*}:cache:episode:*",
        "greenroom:group:{episodes:*}",
    )
    raw("ACL", "SETUSER", "greenroom-worker", *(f"~{key}" for key in keys))
    async with read() as cache:
        assert raw("EXISTS", "cache:episode:e1") == 1
        await cache.invalidate_group(episode_id="e1")
        assert raw("EXISTS", "cache:episode:e1") == 0
    assert denied(raw) == []


# What is too much -------------------------------------------------------------------------------------


def logged_in(server: Server, role: str) -> Raw:
    """A client of a role's user."""
    raw = server.raw()
    assert raw("AUTH", f"greenroom-{role}", secret(role)) == b"OK"
    return raw


@pytest.mark.parametrize("role", ["service", "worker"])
def test_a_program_has_its_keys_and_commands_only(server: Server, raw: Raw, role: str) -> None:
    client = logged_in(server, role)
    for line in ("GET other", "SET cache:other 1", "DEL cache:topic", "GET greenroom:group:{other}", "ZADD x 1 a"):
        assert "NOPERM" in str(client(*line.split())), line
    for line in ("KEYS *", "SCAN 0", "FLUSHALL", "CONFIG GET requirepass", "ACL LIST", "EVAL return(1) 0", "MONITOR"):
        assert "NOPERM" in str(client(*line.split())), line
    assert client("GET", "cache:topic:a") is None


def test_a_worker_has_no_sessions(server: Server, raw: Raw) -> None:
    client = logged_in(server, "worker")
    for line in ("GET session:a", "DEL session:a", "GET greenroom:life:{session:a}", "MGET session:a"):
        assert "NOPERM" in str(client(*line.split())), line


def test_a_viewer_reads_and_changes_nothing(server: Server, raw: Raw) -> None:
    raw("SET", "cache:topic:a", "{}")
    raw("SET", "session:a", "{}")
    raw("ZADD", "greenroom:active:{sessions}", 1, "a")
    viewer = logged_in(server, "viewer")
    assert viewer("GET", "cache:topic:a") == b"{}"
    assert viewer("MGET", "session:a", "cache:topic:a") == [b"{}", b"{}"]
    assert viewer("ZCARD", "greenroom:active:{sessions}") == 1
    assert viewer("TTL", "cache:topic:a") == -1
    assert b"maxmemory_policy" in viewer("INFO", "memory")
    assert sorted(viewer("SCAN", 0, "COUNT", 100)[1])[0] == b"cache:topic:a"
    for line in (
        "SET cache:topic:a 1",
        "DEL cache:topic:a",
        "EXPIRE cache:topic:a 1",
        "GETEX cache:topic:a",
        "EVALSHA 0000000000000000000000000000000000000000 0",
        "ZADD greenroom:active:{sessions} 1 b",
        "GET other",
        "FLUSHALL",
        "CONFIG GET requirepass",
    ):
        assert "NOPERM" in str(viewer(*line.split())), line
    raw("ACL", "SETUSER", "greenroom-viewer", "+set")
    assert "NOPERM" in str(viewer("SET", "cache:topic:a", "1")), "even with a command too many"
    assert raw("GET", "cache:topic:a") == b"{}"


# Log-in -----------------------------------------------------------------------------------------------


async def test_a_wrong_password_says_so_and_stands_in_no_log(
    server: Server, raw: Raw, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with Greenroom(address(server, "service", "hunter2hunter2")) as room:
        found = room.unavailable
        assert isinstance(found, EngineRefused)
        assert "WRONGPASS" in str(found)
        assert str(found).startswith(f"caches and sessions: valkey://greenroom-service@127.0.0.1:{server.port}: ")
        assert "hunter2hunter2" not in str(found)
        assert "correct the user and the password in the address" in str(found)
        assert await room.cache(EPISODE, load=Loads()).get("e1") == Episode("e1"), "reads go on"
    assert caplog.records
    assert "hunter2hunter2" not in caplog.text


async def test_a_user_that_needs_no_password_is_logged_in(server: Server) -> None:
    raw = server.raw()
    assert raw("ACL", "SETUSER", "app", "on", "nopass", "~*", "&*", "+@all") == b"OK"
    async with Greenroom(server.address.replace("//", "//app:@")) as room:
        await room.ready(timedelta(minutes=1))
        clients = [line for line in raw("CLIENT", "LIST").splitlines() if b" name=greenroom-" in line]
        assert len(clients) == 2
        assert all(b" user=app " in line for line in clients)


async def test_no_log_in_at_all_says_what_to_write(server: Server) -> None:
    server.raw()("CONFIG", "SET", "requirepass", "right")
    async with Greenroom(server.address) as room:
        assert "NOAUTH" in str(room.unavailable)
        assert "valkey://user:password@host" in str(room.unavailable)


async def test_a_user_with_too_few_rules_is_told_which_command_prints_them(server: Server) -> None:
    server.raw()("ACL", "SETUSER", "poor", "on", ">pw", "~*", "+ping")
    async with Greenroom(server.address.replace("//", "//poor:pw@")) as room:
        assert "NOPERM" in str(room.unavailable)
        assert "give the user what `greenroom acl` prints" in str(room.unavailable)


async def begun_and_read(room: Greenroom) -> None:
    _, token = await room.sessions.start(user_id="u1")
    await room.sessions.read(token)


@pytest.mark.parametrize("rule", ["-mget", "-set", "resetkeys"])
async def test_a_user_that_may_not_do_what_it_must_is_told_once_of_each_thing(
    server: Server, raw: Raw, caplog: pytest.LogCaptureFixture, rule: str
) -> None:
    allow(raw, Role.SERVICE)
    raw("ACL", "SETUSER", "greenroom-service", *("~cache:episode:*", "~*{cache:episode:*}"), rule)
    login = f"//greenroom-service:{secret('service')}@"
    async with Greenroom(server.address.replace("//", login)) as room:
        assert room.unavailable is None, "the log-in needs none of it"
        episodes = room.cache(EPISODE, load=Loads())
        for number in range(3):
            assert await episodes.get(f"e{number}") == Episode(f"e{number}"), "reads go on"
            with pytest.raises(EngineRefused):
                await begun_and_read(room)
    told = [one.getMessage() for one in caplog.records if "NOPERM" in one.getMessage()]
    assert told
    assert len(told) == len(set(told))
    assert all("give the user what `greenroom acl` prints" in one for one in told)


def test_with_a_wrong_password_a_service_starts_and_prints_no_secret(server: Server, raw: Raw, serve: Serve) -> None:
    env = {"GREENROOM_VALKEY_URL": address(server, "service", "hunter2hunter2"), "GREENROOM_EDITOR_TOKEN": "t" * 16}
    service = serve("--log-level", "debug", "--work", "off", env=env)
    ready = service.client.get("/health/ready")
    assert ready.json()["status"] == "degraded"
    assert "WRONGPASS" in ready.json()["engine"]
    assert "correct the user and the password" in service.output()
    assert service.client.get(f"{API}/topics").status_code == 200
    assert "hunter2hunter2" not in service.output() + ready.text + service.client.get("/metrics").text


# The command ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", Role)
def test_what_is_printed_makes_the_user_that_these_tests_use(valkey: Server, role: Role) -> None:
    raw = valkey.raw()
    allow(raw, role)
    name = f"greenroom-{role.value}"
    before = raw("ACL", "GETUSER", name)
    assert raw("ACL", "DELUSER", name) == 1
    assert raw(*printed(role.value).split()) == b"OK"
    assert raw("ACL", "GETUSER", name) == before


def test_all_roles_are_printed_with_a_placeholder_that_no_server_accepts(server: Server) -> None:
    run = command("acl")
    assert run.returncode == 0
    lines = run.stdout.splitlines()
    assert [line.split()[2] for line in lines] == [f"greenroom-{role.value}" for role in Role]
    raw = server.raw()
    for line in lines:
        assert PLACEHOLDER in line
        assert "Error in ACL SETUSER" in str(raw(*line.split()))
    assert [user for user in raw("ACL", "USERS") if user != b"default"] == []


def test_the_lines_of_a_file_are_what_a_server_starts_with(server: Server, tmp_path: Path) -> None:
    file, prefix = tmp_path / "users.acl", "st*g[1]:"
    service = printed("service", "--form", "file", "--key-prefix", prefix)
    file.write_text(f"user default on nopass ~* &* +@all\n{service}\n")
    server.kill()
    server.spawn("--aclfile", str(file))
    wait_for(server._answers)
    client = logged_in(server, "service")
    assert client("GET", f"{prefix}cache:topic:a") is None
    assert "NOPERM" in str(client("GET", "other"))


def test_a_server_of_one_kind_gets_the_rules_of_that_kind() -> None:
    caches, sessions = (rules(Role.SERVICE, DECLARATIONS, holds=holds) for holds in (Holds.CACHES, Holds.SESSIONS))
    both = rules(Role.SERVICE, DECLARATIONS)
    assert caches is not None
    assert sessions is not None
    assert both is not None
    assert not any("session" in key for key in caches.keys)
    assert not any("cache:" in key for key in sessions.keys)
    assert set(caches.keys) | set(sessions.keys) == set(both.keys)
    assert caches.commands | sessions.commands == both.commands
    run = command("acl", "worker", "--holds", "sessions")
    assert (run.returncode, run.stdout) == (0, "")
    assert run.stderr == "greenroom: a worker needs no user there\n"


def test_a_password_comes_from_standard_input_and_leaves_as_its_hash() -> None:
    run = command("acl", "viewer", "--user", "ana", "--password-stdin", stdin="opensesame\n")
    words = run.stdout.split()
    assert words[2] == "ana"
    assert "#" + hashlib.sha256(b"opensesame").hexdigest() in words
    assert "opensesame" not in run.stdout + run.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "named"),
    [
        (["viewer", "--password-stdin"], "\n", "password: is empty"),
        (["--password-stdin"], "x\n", "--password-stdin: is for one role"),
        (["--user", "ana"], "", "--user: is for one role"),
        (["viewer", "--user", "a b"], "", "user: 'a b' cannot be a user's name"),
        (["--key-prefix", "{a}"], "", "--key-prefix: "),
    ],
)
def test_what_cannot_be_is_refused(arguments: list[str], stdin: str, named: str) -> None:
    assert refusal(command("acl", *arguments, stdin=stdin)).startswith(f"greenroom: {named}")


# The list ---------------------------------------------------------------------------------------------


def test_every_command_that_stands_in_the_code_is_in_the_rules(server: Server) -> None:
    """Also what is sent only when something fails: whatever tuple or call names a command of the server."""
    known = {name.decode() for name in server.raw()("COMMAND", "LIST")}
    home = Path(greenroom.__file__).parent.parent
    for rooms, allowed in (
        (("greenroom/engine", "greenroom/caching"), rules(Role.WORKER, DECLARATIONS)),
        (
            ("greenroom/engine", "greenroom/sessions", "greenroom_platform/accounts"),
            rules(Role.SERVICE, DECLARATIONS, holds=Holds.SESSIONS),
        ),
    ):
        # Operators look for keys, as a viewer may; programs never do.
        files = [file for room in rooms for file in (home / room).rglob("*.py") if file.name not in LOOKING]
        sent = {name for file in files for name in named_commands(file, known)}
        assert {"hello", "client|tracking", "script|load", "evalsha", "pttl", "asking"} <= sent, "they are found"
        assert allowed is not None
        assert sent <= allowed.commands, rooms


def test_every_command_of_those_who_look_is_in_the_viewer_s_rules(server: Server) -> None:
    """But for what is tried as the service, what an administrator is asked, and what mends."""
    known = {name.decode() for name in server.raw()("COMMAND", "LIST")}
    home = Path(greenroom.__file__).parent
    others = {"tracking.py", "server_rights.py", "mending.py"}
    files = [file for file in (home / "inspection").glob("*.py") if file.name not in others]
    files += [home / "engine" / name for name in LOOKING]
    sent = {name for file in files for name in named_commands(file, known)}
    allowed = rules(Role.VIEWER, DECLARATIONS)
    assert allowed is not None
    assert {"scan", "dbsize", "type", "pttl", "get", "memory|usage", "readonly", "time", "info"} <= sent, (
        "they are found"
    )
    assert sent <= allowed.commands
    assert not allowed.commands & {"set", "del", "config|get", "keys", "acl|getuser"}


def named_commands(file: Path, known: set[str]) -> set[str]:
    """The commands that begin a tuple, or stand among a call's arguments, with their subcommands."""
    found = set()
    for name, following in words_in_capitals(file):
        if name in known:
            subcommand = f"{name}|{following}"
            found.add(subcommand if subcommand in known or name in ("client", "script", "cluster") else name)
    return found - {"auth"}  # of HELLO


@cache
def words_in_capitals(file: Path) -> set[tuple[str, str]]:
    """The texts in capitals of a module's tuples and calls, each with the text that follows it, in small letters."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        words = node.elts if isinstance(node, ast.Tuple) else node.args if isinstance(node, ast.Call) else []
        texts = [one.value if isinstance(one, ast.Constant) and isinstance(one.value, str) else "" for one in words]
        found |= {(text.lower(), following.lower()) for text, following in pairwise([*texts, ""]) if text.isupper()}
    return found


def test_a_prefix_that_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidInput):
        rules(Role.SERVICE, DECLARATIONS, prefix="{")
