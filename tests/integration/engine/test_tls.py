"""TLS: to the wheel's Valkey through a proxy that ends it, and to Debian's Redis, which speaks it itself."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from greenroom import Greenroom, Outcome
from greenroom.engine import Address
from greenroom.errors import EngineError, EngineRefused, InvalidInput
from tests.support.episode_caches import EPISODE, Episode, Loads
from tests.support.patience import until, wait_for
from tests.support.real_cluster import Member
from tests.support.real_servers import Server, free_port, redis_binary, valkey_binary
from tests.support.running_service import API, Serve, command, refusal
from tests.support.tls_proxy import WITH_OPENSSL, Authority, Certificate, TlsProxy, openssl

pytestmark = WITH_OPENSSL
WITH_REDIS = pytest.mark.skipif(redis_binary() is None, reason="redis-server is not installed; .ci/run installs it")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A private authority, which no system knows."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def here(authority: Authority) -> Certificate:
    """A certificate for this machine's loopback."""
    return authority.signs("here", "IP:127.0.0.1", "DNS:localhost")


@pytest.fixture
def proxy(valkey: Server, here: Certificate) -> Iterator[TlsProxy]:
    """A Valkey behind TLS."""
    with TlsProxy(valkey, here) as proxy:
        yield proxy


async def trouble(address: str) -> EngineError:
    """Why a room cannot use its server; one that opens all the same."""
    async with Greenroom(address) as room:
        # On a busy machine the room may open before the first attempt has failed.
        await until(lambda: "still connecting" not in str(room.unavailable))
        found = room.unavailable
        assert found is not None
        assert await room.cache(EPISODE, load=Loads()).get("e1") is not None, "reads go on without it"
        return found


async def refused(address: str) -> str:
    """Why a room refuses its server for good."""
    found = await trouble(address)
    assert isinstance(found, EngineRefused)
    return str(found)


# What works -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["valkeys", "rediss"])
async def test_a_room_over_tls_caches_and_keeps_sessions(
    proxy: TlsProxy, valkey: Server, authority: Authority, scheme: str
) -> None:
    address = proxy.address(cacert=authority.cacert).replace("valkeys", scheme)
    async with Greenroom(address) as room:
        assert room.unavailable is None
        episodes = room.cache(EPISODE, load=Loads())
        await episodes.get("e1")
        assert (await episodes.get_result("e1")).outcome is Outcome.NEAR
        live, token = await room.sessions.start(user_id="u1")
        found = await room.sessions.read(token)
        assert found is not None
        assert found.session_id == live.session_id
    assert proxy.taken >= 2
    assert valkey.raw()("EXISTS", "cache:episode:e1") == 1


async def test_an_invalidation_over_tls_reaches_what_another_process_keeps_near(
    proxy: TlsProxy, authority: Authority
) -> None:
    address = proxy.address(cacert=authority.cacert)
    async with Greenroom(address) as one, Greenroom(address) as other:
        loads = Loads()
        mine, theirs = one.cache(EPISODE, load=loads), other.cache(EPISODE, load=loads)
        await theirs.get("e1")
        await theirs.get("e1")
        assert (await theirs.get_result("e1")).outcome is Outcome.NEAR
        loads.version = 2
        await mine.invalidate("e1")
        async with asyncio.timeout(10):
            while (await theirs.get("e1")) != Episode("e1", 2):
                await asyncio.sleep(0)


async def test_a_connection_over_tls_that_is_cut_is_made_anew(proxy: TlsProxy, authority: Authority) -> None:
    async with Greenroom(proxy.address(cacert=authority.cacert)) as room:
        episodes = room.cache(EPISODE, load=Loads(), near_for=timedelta(0))
        await episodes.get("e1")
        before = proxy.taken
        proxy.down()
        await until(lambda: room.unavailable is not None)
        assert (await episodes.get_result("e1")).outcome is Outcome.BYPASSED
        proxy.up()
        await until(lambda: room.unavailable is None)
        assert (await episodes.get_result("e1")).outcome is Outcome.HIT
        assert proxy.taken >= before + 2


async def test_a_renewed_authority_is_read_again_without_a_restart(
    valkey: Server, here: Certificate, authority: Authority, tmp_path: Path
) -> None:
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.cacert.read_bytes())
    successor = Authority(tmp_path, "successor")
    with TlsProxy(valkey, here) as proxy:
        async with Greenroom(proxy.address(cacert=trusted)) as room:
            assert room.unavailable is None
            proxy.down()
            await until(lambda: room.unavailable is not None)
            proxy.up(successor.signs("renewed", "IP:127.0.0.1"))
            await until(lambda: "signed by nobody we trust" in str(room.unavailable))
            trusted.write_bytes(successor.cacert.read_bytes())
            os.utime(trusted, (1, 1))  # whatever the resolution of this file system's clock
            await until(lambda: room.unavailable is None)


async def test_a_half_written_file_is_named_and_read_again_once_it_is_whole(
    proxy: TlsProxy, authority: Authority, tmp_path: Path
) -> None:
    trusted = tmp_path / "trusted.pem"
    whole = authority.cacert.read_bytes()
    trusted.write_bytes(whole)
    async with Greenroom(proxy.address(cacert=trusted)) as room:
        assert room.unavailable is None
        trusted.write_bytes(whole[: len(whole) // 2])
        os.utime(trusted, (1, 1))
        proxy.down()
        proxy.up()
        await until(lambda: f"cacert={trusted} cannot be used" in str(room.unavailable))
        assert "put a whole file in PEM there" in str(room.unavailable)
        trusted.write_bytes(whole)
        os.utime(trusted, (2, 2))
        await until(lambda: room.unavailable is None)


async def test_a_certificate_for_another_name_is_taken_where_that_name_is_given(
    valkey: Server, authority: Authority
) -> None:
    with TlsProxy(valkey, authority.signs("named", "DNS:cache.test")) as proxy:
        address = proxy.address(cacert=authority.cacert, server_name="cache.test")
        async with Greenroom(address) as room:
            assert room.unavailable is None


async def test_a_server_that_wants_a_certificate_is_shown_one(
    valkey: Server, here: Certificate, authority: Authority
) -> None:
    ours = authority.signs("ours")
    with TlsProxy(valkey, here, wants=authority.cacert) as proxy:
        address = proxy.address(cacert=authority.cacert, cert=ours.cert, key=ours.key)
        async with Greenroom(address) as room:
            assert room.unavailable is None
        found = await trouble(proxy.address(cacert=authority.cacert))
        assert "add cert=FILE and key=FILE" in str(found)


# What is refused, and with which words ----------------------------------------------------------------


async def test_an_unknown_authority_is_refused_with_the_option_to_name_it(proxy: TlsProxy) -> None:
    found = await refused(proxy.address())
    assert "signed by nobody we trust" in found
    assert "add cacert=FILE" in found


async def test_the_wrong_authority_is_refused(proxy: TlsProxy, tmp_path: Path) -> None:
    found = await refused(proxy.address(cacert=Authority(tmp_path, "another").cacert))
    assert "signed by nobody we trust" in found


@pytest.mark.parametrize("names", [("DNS:elsewhere.test",), ("IP:192.0.2.1", "DNS:localhost")])
async def test_a_certificate_for_another_host_is_refused(
    valkey: Server, authority: Authority, names: tuple[str, ...]
) -> None:
    with TlsProxy(valkey, authority.signs("elsewhere", *names)) as proxy:
        found = await refused(proxy.address(cacert=authority.cacert))
    assert "its certificate is not for 127.0.0.1" in found
    assert "add server_name=NAME" in found


async def test_a_certificate_that_only_older_pythons_take_is_named(valkey: Server, tmp_path: Path) -> None:
    sloppy = Authority(tmp_path, sloppy=True)
    with TlsProxy(valkey, sloppy.signs("here", "IP:127.0.0.1")) as proxy:
        address = proxy.address(cacert=sloppy.cacert)
        if ssl.create_default_context().verify_flags & ssl.VERIFY_X509_STRICT:
            found = await refused(address)
            assert "Python 3.13 and later" in found
            assert "RFC 5280" in found
        else:
            async with Greenroom(address) as room:
                assert room.unavailable is None


async def test_an_expired_certificate_is_refused(valkey: Server, authority: Authority) -> None:
    with TlsProxy(valkey, authority.signs("expired", "IP:127.0.0.1", days=-1)) as proxy:
        found = await refused(proxy.address(cacert=authority.cacert))
    assert "its certificate has expired; renew it on the server" in found


@pytest.mark.own_limits
async def test_a_server_that_does_not_answer_the_handshake_is_told_of(valkey: Server) -> None:
    found = str(await trouble(valkey.address.replace("valkey://", "valkeys://")))
    assert "if it does not speak TLS there, use its port for TLS" in found


async def test_a_refusal_over_tls_is_told_in_the_servers_own_words(here: Certificate, authority: Authority) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"-DENIED Redis is running in protected mode\r\n")
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(here.cert, here.key)
    refusing = await asyncio.start_server(refuse, "127.0.0.1", 0, ssl=context)
    async with refusing:
        port = refusing.sockets[0].getsockname()[1]
        found = str(await trouble(f"valkeys://127.0.0.1:{port}?cacert={authority.cacert}"))
    assert found.endswith("the server refuses the connection: DENIED Redis is running in protected mode")


async def test_a_server_that_talks_first_and_without_tls_is_refused() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 at your service\r\n")

    greeting = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with greeting:
        found = await refused(f"valkeys://127.0.0.1:{greeting.sockets[0].getsockname()[1]}")
    assert "it does not speak TLS; use its port for TLS, or valkey:// without" in found


def test_files_that_cannot_be_used_are_named_with_the_setting(authority: Authority, tmp_path: Path) -> None:
    ours, other = authority.signs("mine"), authority.signs("other")
    text, locked = tmp_path / "text", tmp_path / "locked.key"
    text.write_text("Dear diary")
    openssl("ec", "-in", ours.key, "-aes256", "-passout", "pass:secret", "-out", locked)
    for options in (
        {"cacert": tmp_path / "missing"},
        {"cacert": tmp_path},
        {"cacert": text},
        {"cert": text},
        {"cert": ours.cert},  # the key is not in it
        {"cert": ours.cert, "key": other.key},
        {"cert": ours.cert, "key": locked},
        {"key": ours.key},
        {"cacert": ""},
        {"verify": "off"},
    ):
        query = "&".join(f"{name}={value}" for name, value in options.items())
        with pytest.raises(InvalidInput) as caught:
            Address.parse(f"valkeys://u:topsecret@h?{query}", field="GREENROOM_CACHE_URL")
        assert caught.value.field == "GREENROOM_CACHE_URL"
        assert "topsecret" not in str(caught.value)
        assert "PEM" in caught.value.remedy or "cacert=" in caught.value.remedy
        for name, value in options.items():
            if name in ("cacert", "cert") and Path(value).is_file():
                assert f"{name}={value}" in caught.value.reason


def test_options_of_an_address_without_tls_are_refused(authority: Authority) -> None:
    with pytest.raises(InvalidInput, match="use valkeys://"):
        Address.parse(f"valkey://h?cacert={authority.cacert}")


# The service ------------------------------------------------------------------------------------------


def test_the_service_over_tls(proxy: TlsProxy, authority: Authority, serve: Serve) -> None:
    service = serve("--valkey-url", proxy.address(cacert=authority.cacert))
    assert service.client.get("/health/ready").json()["status"] == "ok"
    service.client.get(f"{API}/topics")
    assert service.client.get(f"{API}/topics").headers["cache-status"].startswith("greenroom; hit")
    assert str(authority.cacert) not in service.client.get("/metrics").text


def test_the_service_says_at_once_what_is_wrong_with_a_certificate(
    proxy: TlsProxy, authority: Authority, serve: Serve, tmp_path: Path
) -> None:
    service = serve("--valkey-url", proxy.address())
    assert "signed by nobody we trust" in service.output()
    assert "add cacert=FILE" in service.output()
    body = service.client.get("/health/ready").json()
    assert body["status"] == "degraded"
    assert "cacert=FILE" in body["engine"]
    line = refusal(command("serve", "--valkey-url", proxy.address(cacert=tmp_path / "missing")))
    assert line.startswith("greenroom: --valkey-url: cacert=")


# Debian's Redis ---------------------------------------------------------------------------------------


class TlsRedis(Server):
    """A Redis that takes TLS on a port of its own, and wants a certificate of everyone."""

    def __init__(self, binary: str, directory: Path, authority: Authority, shows: Certificate) -> None:
        self.tls_port = free_port()
        super().__init__(binary, directory, *tls_options(self.tls_port, authority, shows))


def tls_options(port: int, authority: Authority, shows: Certificate) -> tuple[str, ...]:
    """How a Redis is told to take TLS on a port."""
    return (
        *("--tls-port", str(port), "--tls-ca-cert-file", str(authority.cacert)),
        *("--tls-cert-file", str(shows.cert), "--tls-key-file", str(shows.key)),
    )


@pytest.fixture
def redis(authority: Authority, here: Certificate, tmp_path: Path) -> Iterator[TlsRedis]:
    """A Redis of its own for one test."""
    binary = redis_binary()
    assert binary is not None
    server = TlsRedis(binary, tmp_path, authority, here)
    server.start()
    yield server
    server.kill()


@WITH_REDIS
async def test_redis_is_spoken_to_with_tls_of_its_own(redis: TlsRedis, authority: Authority) -> None:
    ours = authority.signs("client")
    address = f"rediss://127.0.0.1:{redis.tls_port}?cacert={authority.cacert}"
    async with Greenroom(f"{address}&cert={ours.cert}&key={ours.key}") as room:
        assert room.unavailable is None
        episodes = room.cache(EPISODE, load=Loads())
        await episodes.get("e1")
        await episodes.get("e1")
        assert (await episodes.get_result("e1")).outcome is Outcome.NEAR
        redis.raw()("DEL", "cache:episode:e1", "lease:{cache:episode:e1}", "absent:{cache:episode:e1}")
        async with asyncio.timeout(10):
            while (await episodes.get_result("e1")).outcome is Outcome.NEAR:
                await asyncio.sleep(0)
        redis.kill()
        await until(lambda: room.unavailable is not None)
        redis.start()
        await until(lambda: room.unavailable is None)
    assert "add cert=FILE and key=FILE" in str(await trouble(address))


# Clusters ---------------------------------------------------------------------------------------------


@WITH_REDIS
async def test_a_redis_cluster_is_spoken_to_with_tls_wherever_a_slot_is(
    authority: Authority, here: Certificate, tmp_path: Path
) -> None:
    binary = redis_binary()
    assert binary is not None
    ports = [free_port(), free_port()]
    nodes = []
    for port in ports:
        (tmp_path / str(port)).mkdir()
        nodes.append(
            Member(binary, tmp_path / str(port), 60_000, *tls_options(port, authority, here), "--tls-cluster", "yes")
        )
    try:
        for number, node in enumerate(nodes):
            node.start()
            node.ok("CLUSTER", "ADDSLOTSRANGE", 8192 * number, 8192 * number + 8191)
            node.ok("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        nodes[0].meet(nodes[1])
        for node in nodes:
            wait_for(lambda node=node: node.info["cluster_state"] == "ok", 30)
        query = f"cacert={authority.cacert}&cert={here.cert}&key={here.key}"
        async with Greenroom(f"rediss+cluster://127.0.0.1:{ports[0]}?{query}") as room:
            assert room.unavailable is None
            episodes = room.cache(EPISODE, load=Loads(), near_for=timedelta(0))
            ids = [f"e{number}" for number in range(32)]
            for episode in ids:
                await episodes.get(episode)
            assert {(await episodes.get_result(episode)).outcome for episode in ids} == {Outcome.HIT}
            assert all(node("DBSIZE") for node in nodes), "both are spoken to"
            # What it has learned is out of date now: who had the slot says where it is.
            slot = nodes[0]("CLUSTER", "KEYSLOT", "cache:episode:e1")
            source, target = nodes if slot < 8192 else reversed(nodes)
            keys = source("CLUSTER", "GETKEYSINSLOT", slot, 100)
            assert source("DEL", *keys) == len(keys)
            for node in (target, source):
                node.ok("CLUSTER", "SETSLOT", slot, "NODE", target.name)
            assert await episodes.get("e1") is not None
            assert target("EXISTS", "cache:episode:e1") == 1
    finally:
        for node in nodes:
            node.kill()


async def test_a_valkey_cluster_is_reached_at_the_port_for_tls_that_it_announces(
    authority: Authority, here: Certificate, tmp_path: Path
) -> None:
    node = Member(valkey_binary(), tmp_path, 60_000)
    with TlsProxy(node, here) as proxy:
        node._options = ("--cluster-announce-port", str(proxy.port))
        try:
            node.spawn()
            wait_for(node._answers)
            node.ok("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_for(lambda: node.info["cluster_state"] == "ok", 30)
            address = proxy.address(cacert=authority.cacert).replace("valkeys://", "valkeys+cluster://")
            async with Greenroom(address) as room:
                assert room.unavailable is None
                episodes = room.cache(EPISODE, load=Loads())
                await episodes.get("e1")
                assert (await episodes.get_result("e1")).outcome is Outcome.NEAR
        finally:
            node.kill()
