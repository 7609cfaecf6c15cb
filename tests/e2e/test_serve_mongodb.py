"""`greenroom serve`, `work` and `load` on a record in MongoDB: the service of any record, and no password anywhere."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pymongo
import pytest

from tests.support.mongo_server import MongoServer
from tests.support.patience import wait_for
from tests.support.problem_checks import problem
from tests.support.real_servers import Server
from tests.support.running_service import API, Serve, command, refusal

TOPIC = {"display_name": "Night", "description": "", "keywords": ["radio"]}
TEXT = {"topic_id": "night", "title": "Static", "text_content": "Between two stations there is a third."}
BROKEN = "greenroom_record_broken_documents_total"
SECRET = "correct-horse"


@pytest.fixture
def url(mongo_shared: MongoServer) -> str:
    return mongo_shared.url(f"t{secrets.token_hex(6)}")


def test_editors_listeners_and_another_program_share_a_record_in_mongodb(
    serve: Serve, mongo_shared: MongoServer, url: str, valkey: Server
) -> None:
    service = serve("--database-url", url, "--valkey-url", valkey.address)
    client, editor = service.client, service.editor
    assert client.put(f"{API}/topics/night", json=TOPIC, headers=editor).status_code == 201
    location = client.post(f"{API}/snippets", json=TEXT, headers=editor).headers["location"]
    stale = {"If-Match": '"another"'} | editor
    problem(client.put(location, json=TEXT | {"title": "Hiss"}, headers=stale), 412, "precondition-failed")
    problem(client.put(location, json=TEXT | {"topic_id": "day"}, headers=editor), 422, "invalid-input")
    problem(client.delete(f"{API}/topics/night", headers=editor), 409, "conflict")
    assert client.put(location, json=TEXT | {"title": "Hiss"}, headers=editor).json()["title"] == "Hiss"
    assert client.get(location).json()["title"] == "Hiss"
    assert [one["title"] for one in client.get(f"{API}/snippets?topic_id=night").json()] == ["Hiss"]
    asked = client.post(f"{API}/podcasts/generate", json={"topic_id": "night"})
    assert asked.status_code == 202, asked.text
    with pymongo.MongoClient[dict[str, Any]](mongo_shared.host) as other:
        database = other[url.rpartition("/")[2]]
        wait_for(lambda: "token" in (database.greenroom.find_one({"_id": "stream"}) or {}), 30)
        database.snippets.update_one({"_id": location.rpartition("/")[2]}, {"$set": {"title": "Theirs"}})
        wait_for(lambda: client.get(location).json()["title"] == "Theirs", 10)
        database.snippets.insert_one({"_id": "broken", "snippet_id": "broken", "topic_id": "night"})

        def is_counted() -> bool:
            listed = client.get(f"{API}/snippets?topic_id=night").json()
            assert [one["title"] for one in listed] == ["Theirs"]
            return f'{BROKEN}{{kind="snippet"}} 0.0' not in client.get("/metrics").text

        assert f'{BROKEN}{{kind="topic"}} 0.0' in client.get("/metrics").text
        wait_for(is_counted, 10)
        problem(client.get(f"{API}/snippets/broken"), 500, "internal-error")
        problem(client.put(f"{API}/snippets/broken", json=TEXT, headers=editor), 500, "internal-error")
        wait_for(lambda: database.AgentTaskState.find_one({"status": {"$ne": "queued"}}) is not None, 60)


def test_no_password_of_the_record_is_shown(serve: Serve, mongo_shared: MongoServer, url: str) -> None:
    secret = url.replace("://", f"://ana:{SECRET}@")
    refused = refusal(command("serve", "--port", "0", "--database-url", f"{secret}?readPreference=secondary"))
    assert "readPreference" in refused
    run = command("load", "--database-url", secret, "-", stdin="{}\n")
    assert run.returncode != 0
    for text in (refused, run.stdout, run.stderr):
        assert SECRET not in text
    service = serve("--database-url", url)
    assert f"database    {url}" in service.output()
    assert service.client.get("/health/ready").json()["status"] == "ok"


@pytest.mark.parametrize("flags", [(), ("--sample", "on"), ("--sample", "off")])
def test_the_sample_is_loaded_into_a_named_record_only_if_that_is_said(
    serve: Serve, url: str, flags: tuple[str, ...]
) -> None:
    service = serve("--database-url", url, "--work", "off", *flags)
    assert bool(service.client.get(f"{API}/topics").json()) == ("on" in flags)


def test_a_load_goes_into_mongodb_and_says_how_fast(
    url: str, mongo_shared: MongoServer, record_property: Callable[[str, object], None]
) -> None:
    topic = '{"topic_id": "t", "display_name": "T", "description": "", "keywords": []}\n'
    snippets = "".join(
        f'{{"snippet_id": "s{number}", "topic_id": "t", "title": "S", "text_content": "Text."}}\n'
        for number in range(2500)
    )
    run = command("load", "--database-url", url, "-", stdin=topic + snippets)
    assert run.returncode == 0, run.stderr
    *_, rate, loaded = run.stderr.splitlines()
    assert loaded == f"Loaded 1 topic and 2,500 snippets into {url}; 0 lines rejected."
    assert rate.startswith("stored 2,501 rows in ")
    record_property("figure", f"load into MongoDB: {rate}")
    with pymongo.MongoClient[dict[str, Any]](mongo_shared.host) as other:
        assert other[url.rpartition("/")[2]].snippets.count_documents({}) == 2500
    assert command("load", "--database-url", url, "-", stdin=topic).returncode == 0
