"""`/docs/asyncapi.json`: valid AsyncAPI 3, and what a stream and a podcast's events really send."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from greenroom_platform.http.asyncapi import MEDIA_TYPE
from tests.support.node_packages import MODULES, node_program
from tests.support.running_service import API, KEPT, NO_TLS, Service
from tests.support.status_followers import events
from tests.support.stream_listeners import UNKNOWN, Heard, Studio, heard_of, tones

SERVE_ENV = {"GREENROOM_WORK": "off"}
EBML, CLUSTER = b"\x1a\x45\xdf\xa3", b"\x1f\x43\xb6\x75"
"""The first bytes of a WebM file, and of each of its clusters."""


@pytest.fixture(scope="module")
def described(service: Service) -> dict[str, Any]:
    """The document as it is served."""
    answer = service.client.get("/docs/asyncapi.json").raise_for_status()
    assert answer.headers["content-type"] == MEDIA_TYPE
    found: dict[str, Any] = answer.json()
    return found


def test_it_is_valid_by_the_specifications_own_schema(described: dict[str, Any], tmp_path: Path) -> None:
    schema = MODULES / "@asyncapi" / "specs" / "schemas" / "3.0.0-without-$id.json"
    if not schema.exists():
        pytest.skip("the schemas of AsyncAPI are not installed; `make node` installs them where npm is")
    Draft7Validator(json.loads(schema.read_text())).validate(described)
    (tmp_path / "asyncapi.json").write_text(json.dumps(described))
    # Who listens needs no session, though one counts.
    lint = [node_program("redocly"), "lint", "asyncapi.json", "--format", "json", "--skip-rule", "security-defined"]
    ended = subprocess.run(lint, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert json.loads(ended.stdout)["problems"] == []


def test_its_examples_fit_what_they_are_examples_of(described: dict[str, Any]) -> None:
    for name, message in described["components"]["messages"].items():
        examples = message.get("examples", [])
        assert examples or name in ("cluster", "summary")
        for example in examples:
            fits(described, message["payload"], example["payload"])
            if "headers" in message:
                fits(described, message["headers"], example["headers"])


async def test_a_stream_and_events_send_what_is_described_and_all_of_it(
    service: Service, studio: Studio, described: dict[str, Any]
) -> None:
    whole, failed = await studio.ready(tones(2)), await studio.failed("Nothing was told of this.")
    streams = described["channels"]["stream"]
    seen = set[str]()
    for podcast_id, query in (whole, ""), (failed, ""), (whole, "?from=never"), (UNKNOWN, ""):
        heard = await heard_of(service, podcast_id, query)
        assert str(heard.code) in streams["x-close-codes"]
        seen |= set(names_of(described, heard))
    assert seen == streams["messages"].keys()
    status = described["components"]["messages"]["status"]
    async with httpx.AsyncClient(base_url=service.url, verify=NO_TLS, limits=KEPT) as client:
        for podcast_id in whole, failed:
            sent = [event async for event in events(client, f"{API}/podcasts/{podcast_id}/status")]
            assert sent
            for name, data, mark in sent:
                fits(described, status["headers"], {"id": mark, "event": name})
                fits(described, status["payload"], json.loads(data))


async def test_staff_are_pushed_what_is_described(service: Service, described: dict[str, Any]) -> None:
    summary = described["components"]["messages"]["summary"]
    async with httpx.AsyncClient(base_url=service.url, verify=NO_TLS, limits=KEPT, headers=service.editor) as client:
        pushed = events(client, described["channels"]["control"]["address"])
        name, data, mark = await anext(pushed)
        await pushed.aclose()  # type: ignore[attr-defined]  # it is a generator
    fits(described, summary["headers"], {"id": mark, "event": name})
    fits(described, summary["payload"], json.loads(data))


def names_of(described: dict[str, Any], heard: Heard) -> list[str]:
    """The message that each part of what was heard is, by the one whose schema it fits."""
    messages = described["components"]["messages"]
    names = []
    for text in heard.texts:
        fitting = [
            name
            for name in described["channels"]["stream"]["messages"]
            if name != "cluster" and not list(validator(described, messages[name]["payload"]).iter_errors(text))
        ]
        assert len(fitting) == 1, (text, fitting)
        names += fitting
    for number, cluster in enumerate(heard.clusters):
        assert cluster.startswith(CLUSTER if number else EBML)
        names.append("cluster")
    return names


def validator(described: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    """A schema of the document, which allows no member that it does not name."""
    closed = msgspec.json.decode(msgspec.json.encode(described["components"]))
    for one in closed["schemas"].values():
        one["additionalProperties"] = False
    return Draft202012Validator({**schema, "components": closed})


def fits(described: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    validator(described, schema).validate(value)
