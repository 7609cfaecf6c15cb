"""Opening a record on MongoDB: what is refused, each time with what to do about it, and never with the password."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import pymongo
import pytest

from greenroom.errors import InvalidInput, RecordUnavailable
from greenroom_platform.storage import check_database, open_records, shown_database
from greenroom_platform.storage.mongodb import opening
from greenroom_platform.storage.mongodb.records import MongoRecords
from greenroom_platform.testing.records_changes import NOON, about
from tests.support.mongo_server import MongoServer, mongo_binary
from tests.support.tls_proxy import WITH_OPENSSL, Authority

SECRET = "correct-horse"
NAME = "greenroom"


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is not there is not waited for as long."""
    monkeypatch.setattr(opening, "_OPENING", 1.5)


@pytest.fixture
def options() -> tuple[str, ...]:
    """Of the server; to be overridden by a parameter."""
    return ()


@pytest.fixture
def own(options: tuple[str, ...], tmp_path: Path) -> Iterator[MongoServer]:
    """A server of its own for one test, which starts it."""
    if mongo_binary() is None:
        pytest.skip("SecantusDB has no wheel for this Python or platform")
    server = MongoServer(tmp_path / "data", tmp_path / "log", *options)
    yield server
    server.kill()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mongodb://h/", "it names no database"),
        ("mongodb://h", "it names no database"),
        ("mongodb:///name", "it names no host"),
        (f"mongodb://ana:{SECRET}/{SECRET}@host/name", "written as %XX"),
        (f"mongodb://ana:{SECRET}?{SECRET}@host/name", "written as %XX"),
        (f"mongodb://ana:{SECRET}#{SECRET}@host/name", "written as %XX"),
        ("mongodb://h/a b", "'a b' cannot be the name"),
        ("mongodb://h/admin", "'admin' cannot be the name"),
        ("mongodb://h/n?readPreference=secondaryPreferred", "readPreference=secondaryPreferred"),
        ("mongodb://h/n?readpreference=nearest", "read from the primary"),
        ("mongodb+srv://h/n?tls=true&readPreference=secondary", "readPreference=secondary"),
        ("mongodb://h/n?readConcernLevel=local", "readConcernLevel=local"),
        ("mongodb://h/n?w=1", "acknowledged by the majority"),
        ("mongodb://h/n?w=0", "acknowledged by the majority"),
        ("mongodb://h/n?journal=false", "in the journal"),
        ("mongodb://h/n?retryWrites=false", "must not count twice"),
        ("mongodb://[h/n", "it is not an address"),
    ],
)
def test_an_address_that_breaks_a_promise_is_refused_unconnected(url: str, words: str) -> None:
    secret = url.replace("://", f"://ana:{SECRET}@")
    for text in (url, secret):
        with pytest.raises(InvalidInput) as caught:
            check_database(text, field="--database-url")
        assert caught.value.field == "--database-url"
        assert words in str(caught.value)
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://h/n",
        "mongodb://a:1,b:2/n?replicaSet=rs0&w=majority&journal=true&readPreference=primary&tls=true",
        "mongodb+srv://cluster.example.org/n",
    ],
)
def test_an_address_is_shown_without_user_and_password(url: str) -> None:
    secret = url.replace("://", f"://ana:{SECRET}@")
    check_database(secret)
    assert shown_database(secret) == url.partition("?")[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("tls=perhaps", "tls"),  # the driver would only warn, and connect without
        ("tlss=true", "Unknown option"),
        ("maxPoolSize=many", "maxPoolSize"),
        ("tls=true&tlsAllowInvalidCertificates=perhaps", "tlsAllowInvalidCertificates"),
        ("tls=false&ssl=true", "tls"),
        ("tls=true&tlsCAFile=/there/is/none", "tlsCAFile"),
    ],
)
async def test_an_option_that_the_driver_does_not_understand_is_refused(options: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=f"(?i){words}") as caught:
        await open_records(f"mongodb://ana:{SECRET}@127.0.0.1/n?{options}")
    assert caught.value.field == "database"
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("options", [("--standalone",)])
async def test_a_standalone_server_is_refused_with_the_remedy(own: MongoServer) -> None:
    own.start()
    with pytest.raises(InvalidInput, match="standalone") as caught:
        await open_records(own.url(NAME))
    assert "rs.initiate()" in caught.value.remedy


async def test_a_server_that_is_not_there_is_unavailable(own: MongoServer, patient: None) -> None:
    with pytest.raises(RecordUnavailable, match="cannot be reached") as caught:
        await open_records(own.url(NAME).replace("://", f"://ana:{SECRET}@"))
    assert own.host in str(caught.value)
    assert SECRET not in str(caught.value)


async def test_a_wrong_password_is_refused_by_name(tmp_path: Path) -> None:
    if mongo_binary() is None:
        pytest.skip("SecantusDB has no wheel for this Python or platform")
    first = MongoServer(tmp_path / "data", tmp_path / "log")
    first.start()
    with pymongo.MongoClient[dict[str, object]](first.host) as client:
        client.admin.command("createUser", "ana", pwd=SECRET, roles=[{"role": "root", "db": "admin"}])
    first.kill()
    second = MongoServer(tmp_path / "data", tmp_path / "log", "--auth")
    second.start(answers=False)
    try:
        right = second.url(NAME, "?authSource=admin").replace("://", f"://ana:{SECRET}@")
        records = await open_records(right)
        await records.put_topic("a", about("A"), NOON)
        await records.close()
        for wrong in (right.replace(SECRET, "wrong"), right.replace("ana", "bob"), second.url(NAME)):
            with pytest.raises(InvalidInput) as caught:
                await open_records(wrong)
            assert caught.value.field == "database"
            assert "password" in caught.value.reason or "readWrite" in caught.value.remedy
            assert SECRET not in str(caught.value)
    finally:
        second.kill()


@WITH_OPENSSL
@pytest.mark.parametrize(
    ("options", "words"),
    [("", "add tls=true"), ("?tls=true", "CERTIFICATE_VERIFY_FAILED"), ("?tls=true&tlsCAFile={}", None)],
)
async def test_a_server_that_wants_tls_is_used_with_it_alone(
    tmp_path: Path, patient: None, options: str, words: str | None
) -> None:
    """A server for each: SecantusDB listens to nobody any more once a handshake has failed."""
    if mongo_binary() is None:
        pytest.skip("SecantusDB has no wheel for this Python or platform")
    authority = Authority(tmp_path)
    made = authority.signs("server", "IP:127.0.0.1")
    files = "--tls-cert-file", str(made.cert), "--tls-key-file", str(made.key)
    server = MongoServer(tmp_path / "data", tmp_path / "log", *files)
    server.start(answers=False)
    url = server.url(NAME, options.format(authority.cacert))
    try:
        if words is None:
            records = await open_records(url)
            await records.ping()
            await records.close()
        else:
            with pytest.raises(RecordUnavailable, match=words):
                await open_records(url)
    finally:
        server.kill()


async def test_a_schema_of_a_later_version_is_refused(mongo_shared: MongoServer) -> None:
    name = f"t{secrets.token_hex(6)}"
    with pymongo.MongoClient[dict[str, object]](mongo_shared.host) as client:
        client[name]["greenroom"].insert_one({"_id": "schema", "version": 99})
    with pytest.raises(InvalidInput, match="version 99"):
        await open_records(mongo_shared.url(name))


async def test_processes_may_open_a_new_record_at_the_same_time(mongo_shared: MongoServer) -> None:
    for _ in range(3):
        url = mongo_shared.url(f"t{secrets.token_hex(6)}")
        every = await asyncio.gather(*(MongoRecords.open(url) for _ in range(6)), return_exceptions=True)
        records = [one for one in every if isinstance(one, MongoRecords)]
        for one in records:
            await one.close()
        assert len(records) == 6, every


async def test_collections_of_others_are_taken_over_with_their_documents(mongo_shared: MongoServer) -> None:
    name = f"t{secrets.token_hex(6)}"
    with pymongo.MongoClient[dict[str, object]](mongo_shared.host) as client:
        members = {"display_name": "A", "description": "", "keywords": [], "created_at": NOON, "updated_at": NOON}
        client[name]["topics"].insert_one({"_id": "a", "topic_id": "a"} | members)
        for _ in range(2):
            records = await MongoRecords.open(mongo_shared.url(name))
            assert [one.topic_id for one in await records.topics()] == ["a"]
            await records.close()
        told = {one["name"]: one["options"] for one in client[name].list_collections()}
    assert all(told[one].get("changeStreamPreAndPostImages") for one in ("topics", "snippets", "AgentTaskState"))
