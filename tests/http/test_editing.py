"""What editors have beside single writes: loads with a dry run, exports, and receipts of what an edit has dropped."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from greenroom.errors import RecordUnavailable
from greenroom_platform.http.routes import bulk
from tests.support.patience import until
from tests.support.problem_checks import blamed, problem
from tests.support.raw_connections import connected
from tests.support.running_service import API, CONTROL_TOKEN, NO_TLS, TOKEN, Service
from tests.support.stream_listeners import inner

TOPIC = {"display_name": "Loaded", "description": "", "keywords": ["k"]}
ASKS = {"Prefer": "respond-async, drop-receipt"}
LIMIT = 32 * 1024 * 1024


def lines(*objects: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in objects)


def load(service: Service, body: bytes, *, dry_run: bool = False) -> httpx.Response:
    headers = service.editor | {"Content-Type": "application/x-ndjson"}
    query = "?dry_run=true" if dry_run else ""
    return service.client.post(f"{API}/load{query}", content=body, headers=headers)


def receipt(answer: httpx.Response) -> dict[str, Any]:
    answer.raise_for_status()
    assert answer.headers["preference-applied"] == "drop-receipt"
    told: dict[str, Any] = json.loads(answer.headers["drop-receipt"])
    return told


def snippet(topic_id: str, **members: str) -> dict[str, str]:
    return {"topic_id": topic_id, "title": "A story", "text_content": "Some text."} | members


# Loads --------------------------------------------------------------------------------------------


def test_a_load_names_bad_lines_and_stores_the_good_after_a_dry_run(service: Service) -> None:
    body = lines(
        snippet("loaded", snippet_id="loaded-1"),
        {"topic_id": "loaded"} | TOPIC,
        snippet("loaded-nowhere", snippet_id="loaded-2"),
    )
    body += b"no json\n"
    dry = load(service, body, dry_run=True)
    assert dry.status_code == 200
    told = dry.json()
    assert [(one["line"], one["field"]) for one in told["bad"]] == [(3, "topic_id"), (4, "line")]
    assert all(one["reason"] and one["remedy"] for one in told["bad"])
    counts = {name: told[name] for name in ("topics", "snippets", "more_bad", "changes", "pending", "dry_run")}
    expected = {"topics": 1, "snippets": 1, "more_bad": 0, "changes": 0, "pending": False, "dry_run": True}
    assert counts == expected
    problem(service.client.get(f"{API}/topics/loaded"), 404, "not-found")

    stored = load(service, body)
    assert stored.json() == told | {"changes": stored.json()["changes"], "dry_run": False}
    assert stored.json()["changes"] > 0
    assert service.client.get(f"{API}/snippets/loaded-1").json()["topic_id"] == "loaded"
    assert load(service, body).json()["changes"] == 0, "loading the same again changes nothing"


def test_what_a_load_changes_is_seen_by_the_next_read(service: Service) -> None:
    for number in range(5):
        load(service, lines({"topic_id": "loaded-often"} | TOPIC | {"description": str(number)}))
        for _ in range(2):
            assert service.client.get(f"{API}/topics/loaded-often").json()["description"] == str(number)


def test_of_many_bad_lines_the_first_hundred_are_named(service: Service) -> None:
    told = load(service, b"{}\n" * 250, dry_run=True).json()
    assert [one["line"] for one in told["bad"]] == list(range(1, 101))
    assert told["more_bad"] == 150


async def test_a_load_has_a_limit_of_its_own_and_one_runs_at_a_time(service: Service) -> None:
    big = lines({"topic_id": "loaded-big"} | TOPIC | {"description": "x" * 1_000_000}) * 3
    assert load(service, big, dry_run=True).status_code == 200, "more than 1 MiB"
    async with connected(service.url) as raw:
        raw.say(
            f"POST {API}/load HTTP/1.1\r\nHost: {service.url.removeprefix('http://')}\r\n"
            f"Authorization: Bearer {service.token}\r\nContent-Length: {LIMIT + 1}\r\n\r\n".encode()
        )
        answer = await raw.answer()
    assert answer.status == 413
    assert "32 MiB" in answer.problem("too-large")["detail"]
    async with connected(service.url) as raw:
        raw.say(
            f"POST {API}/load HTTP/1.1\r\nHost: {service.url.removeprefix('http://')}\r\nExpect: 100-continue\r\n"
            f"Authorization: Bearer {service.token}\r\nContent-Length: 1000\r\n\r\n".encode()
        )
        assert (await raw.answer()).status == 100, "the service has begun to read it"
        refused = load(service, b"{}\n")
        problem(refused, 503, "overloaded")
        assert refused.headers["retry-after"]


def test_only_who_may_act_loads_and_exports(service: Service) -> None:
    looker = {"Authorization": f"Bearer {CONTROL_TOKEN}"}
    for method, path in (("POST", "/load"), ("GET", "/export")):
        problem(service.client.request(method, f"{API}{path}", content=b""), 401, "unauthorized")
        problem(service.client.request(method, f"{API}{path}", content=b"", headers=looker), 403, "forbidden")


# Exports ------------------------------------------------------------------------------------------


def test_an_export_is_everything_and_can_be_loaded_again(service: Service) -> None:
    load(
        service, lines({"topic_id": "exported"} | TOPIC, snippet("exported", snippet_id="exported-1"))
    ).raise_for_status()
    answer = service.client.get(f"{API}/export", headers=service.editor)
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert answer.headers["content-disposition"].startswith('attachment; filename="greenroom-')
    assert answer.headers["cache-control"] == "no-store"
    objects = [json.loads(line) for line in answer.text.splitlines()]
    of_topics = ["snippet_id" not in one for one in objects]
    assert of_topics == sorted(of_topics, reverse=True), "topics first"
    topics = [one for one in objects if "snippet_id" not in one]
    assert {one["topic_id"]: one for one in topics} == {
        one["topic_id"]: one for one in service.client.get(f"{API}/topics").json()
    }
    assert service.client.get(f"{API}/snippets/exported-1").json() in objects
    again = load(service, answer.content).json()
    assert (again["topics"] + again["snippets"], again["bad"], again["changes"]) == (len(objects), [], 0)


async def test_head_of_an_export_has_its_headers_and_reads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = 0

    async def counted(_: object) -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield b"{}\n"

    monkeypatch.setattr(bulk, "exported", counted)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with inner(tmp_path / "data") as app, httpx.AsyncClient(verify=NO_TLS, base_url=app.url) as client:
        head = await client.head(f"{API}/export", headers=headers)
        assert (head.status_code, head.content, read) == (200, b"", 0)
        get = await client.get(f"{API}/export", headers=headers)
        assert (get.content, read) == (b"{}\n", 1)
        varying = {"date", "x-request-id", "transfer-encoding"}  # the last is the connection's
        told = [{name: one.headers[name] for name in one.headers if name not in varying} for one in (head, get)]
        assert told[0] == told[1]
        problem(await client.get(f"{API}/export"), 401, "unauthorized")
        assert (await client.head(f"{API}/export")).status_code == 401


async def test_an_export_whose_record_fails_is_broken_off_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def failing(_: object) -> AsyncIterator[bytes]:
        yield b"{}\n"
        raise RecordUnavailable("the record is gone")

    monkeypatch.setattr(bulk, "exported", failing)
    async with inner(tmp_path / "data") as app, httpx.AsyncClient(verify=NO_TLS, base_url=app.url) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"{API}/export", headers={"Authorization": f"Bearer {TOKEN}"})
        await until(lambda: "an answer was broken off: the record is gone" in caplog.text)


# Receipts -----------------------------------------------------------------------------------------


def test_an_edit_tells_whoever_asks_what_it_has_dropped_and_when(service: Service) -> None:
    headers = service.editor | ASKS
    put = service.client.put(f"{API}/topics/told", json=TOPIC, headers=headers)
    told = receipt(put)
    epoch = "cache:search_epoch"  # with each change, searches begin anew
    assert told["named"] == ["cache:topic:told", "cache:topics:all", epoch]
    counts = ("topics", "lists", "searches", "snippets", "pages")
    assert [told[name] for name in counts] == [1, 1, 1, 0, 0]
    assert told["near_within_seconds"] == 0.75
    committed, dropped = (datetime.fromisoformat(told[name]) for name in ("committed_at", "dropped_at"))
    assert put.json()["updated_at"] <= told["committed_at"]
    assert (dropped - committed).total_seconds() * 1000 == pytest.approx(told["milliseconds"], abs=0.06)

    added = service.client.post(f"{API}/snippets", json=snippet("told"), headers=headers)
    snippet_id = added.json()["snippet_id"]
    told = receipt(added)
    pages = [f"cache:snippets:topic:told:page:{number}" for number in (1, 2)]
    assert told["named"] == [epoch, f"cache:snippet:{snippet_id}", *pages]
    assert (told["topics"], told["snippets"], told["pages"]) == (0, 1, 2)
    path = f"{API}/snippets/{snippet_id}"
    edited = service.client.put(path, json=snippet("told", title="Edited"), headers=headers)
    assert int(receipt(edited)["change_id"]) > int(told["change_id"])
    deleted = service.client.delete(path, headers=headers)
    assert (deleted.status_code, receipt(deleted)["named"]) == (204, [epoch, f"cache:snippet:{snippet_id}", *pages])
    gone = receipt(service.client.delete(f"{API}/topics/told", headers=headers))
    assert (gone["topics"], gone["lists"], gone["pages"]) == (1, 1, 1)

    state = service.client.get(f"{API}/changes/{gone['change_id']}", headers=service.editor)
    assert state.json() == {"change_id": gone["change_id"], "pending": False}


def test_who_does_not_ask_for_a_receipt_gets_none(service: Service) -> None:
    for asks in ({}, {"Prefer": "return=minimal"}, {"Prefer": "drop-receipts"}):
        answer = service.client.put(f"{API}/topics/told-nothing", json=TOPIC, headers=service.editor | asks)
        assert answer.is_success
        assert "drop-receipt" not in answer.headers


def test_a_receipt_of_many_pages_names_some_of_them(service: Service) -> None:
    every = [snippet("told-long", snippet_id=f"told-long-{number}") for number in range(300)]
    load(service, lines({"topic_id": "told-long"} | TOPIC, *every)).raise_for_status()
    path = f"{API}/snippets/told-long-7"
    told = receipt(service.client.put(path, json=snippet("told-long", title="New"), headers=service.editor | ASKS))
    assert (told["pages"], len(told["named"])) == (16, 12)


@pytest.mark.parametrize("change_id", ["0", "x", "-1", "9" * 19, "9" * 40])
def test_what_is_no_change_is_refused(service: Service, change_id: str) -> None:
    answer = service.client.get(f"{API}/changes/{change_id}", headers=service.editor)
    assert blamed(answer)[0] == "change"
    problem(service.client.get(f"{API}/changes/1"), 401, "unauthorized")
