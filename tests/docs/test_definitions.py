"""The declared keyspaces against the specification's own text."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from greenroom.cli.group import group
from greenroom.keyspace.json_schema import key_format
from greenroom_platform.definitions import (
    DEFINITIONS,
    OURS,
    PAGE_SIZE,
    PODCAST_STATUS,
    SESSIONS,
    SNIPPET,
    SNIPPET_PAGE,
    TOPIC,
    TOPICS,
)
from greenroom_platform.definitions_document import definitions_schemas
from tests.support.repository import ROOT

TEXT = (ROOT / "docs" / "specification.md").read_text("utf-8")
SECTIONS = {int(number): body for number, body in re.findall(r"^## (\d)\. [^\n]*\n(.*?)(?=^## |\Z)", TEXT, re.S | re.M)}
BY_NAME = {keyspace.name: keyspace for keyspace in DEFINITIONS}


def section(number: int, heading: str) -> str:
    found = re.search(rf"^### {heading}[^\n]*\n(.*?)(?=^### |\Z)", SECTIONS[number], re.S | re.M)
    assert found is not None
    return found.group(1)


def test_every_key_format_of_the_specification_is_declared_and_no_other() -> None:
    specified = [
        name for number in SECTIONS for name in re.findall(r"`([a-z_]+:[^`]+)`", section(number, "Key Format"))
    ]
    assert specified == [key_format(keyspace) for keyspace in DEFINITIONS]


@pytest.mark.parametrize(("number", "keyspace"), [(1, "session"), (4, "podcast_status")])
def test_values_have_exactly_the_specified_members(number: int, keyspace: str) -> None:
    block = re.search(r"```json\n(.*?)```", section(number, "Value Structure"), re.S)
    assert block is not None
    optional = {
        name
        for name, remark in re.findall(r'"(\w+)": [^\n]*//([^\n]*)', block.group(1))
        if "if " in remark.lower() or "optional" in remark.lower()
    }
    specified = json.loads(re.sub(r"//[^\n]*", "", block.group(1)))
    schemas = definitions_schemas()
    assert shape(schemas["properties"][keyspace], schemas["$defs"]) == specified
    declared = schemas["$defs"][schemas["properties"][keyspace]["$ref"].rsplit("/", 1)[1]]
    assert set(declared["properties"]) - set(declared["required"]) == optional


def shape(schema: dict[str, Any], definitions: dict[str, Any]) -> Any:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[1]]
    if schema["type"] == "object":
        return {name: shape(member, definitions) for name, member in schema["properties"].items()}
    if schema["type"] == "array":
        return [shape(schema["items"], definitions)]
    if schema.get("format") == "date-time":
        return "timestamp"
    return {"number": "float"}.get(schema["type"], schema["type"])


@pytest.mark.parametrize(
    ("number", "title", "lists"),
    [
        (2, "TopicObject", "`cache:topics:all`"),
        (3, "SnippetDataObject", "`cache:snippets:topic:<topic_id>:page:<page_number>`"),
    ],
)
def test_objects_and_arrays_are_where_the_specification_has_them(number: int, title: str, lists: str) -> None:
    text = section(number, "Value Structure")
    schemas = definitions_schemas()
    for line in text.strip().splitlines():
        formats = re.findall(r"For `([^`]+)`", line)
        (keyspace,) = [one for one in DEFINITIONS if key_format(one) == formats[0]]
        schema = schemas["properties"][keyspace.name]
        assert ("array" in line) == (schema.get("type") == "array") == (f"`{formats[0]}`" == lists)
        item = schema.get("items", schema)
        assert schemas["$defs"][item["$ref"].rsplit("/", 1)[1]]["title"] == title
        assert title in line


def minutes(text: str) -> list[timedelta]:
    found = re.findall(r"(\d+)(?:-(\d+))? (minute|hour)", text)
    return [timedelta(**{unit + "s": int(bound)}) for least, most, unit in found for bound in (least, most or least)]


def test_lifetimes_are_the_specified_ones() -> None:
    (idle, _) = minutes(section(1, "TTL"))
    assert SESSIONS.lifetime.ttl == idle + timedelta(minutes=1)
    (hour, _) = minutes(section(2, "TTL"))
    assert TOPIC.lifetime.ttl == hour
    assert TOPICS.lifetime.ttl > hour  # "longer for the list"
    least, most = minutes(section(3, "TTL"))
    for keyspace in (SNIPPET, SNIPPET_PAGE):
        assert (keyspace.lifetime.fresh, keyspace.lifetime.ttl) == (least, most)
    least, most = minutes(section(4, "TTL"))
    assert (PODCAST_STATUS.lifetime.fresh, PODCAST_STATUS.lifetime.ttl) == (least, most)


def test_limits_page_size_and_jitter_are_the_documented_ones() -> None:
    assert TOPICS.lifetime.ttl == timedelta(hours=6)
    assert (TOPICS.limit, TOPIC.limit) == (8_000_000, 1_000_000)
    assert PAGE_SIZE == 20
    assert SESSIONS.lifetime.jitter == 0
    assert all(0 < one.lifetime.jitter <= 0.05 for one in DEFINITIONS if one is not SESSIONS)


def run(*arguments: str) -> str:
    # By the group, as a user does: a command keeps the names of its help option from its first call.
    result = CliRunner().invoke(group, ["definitions", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_the_command_prints_every_format_and_what_other_writers_must_know() -> None:
    text = run()
    for keyspace in DEFINITIONS:
        assert f"`{key_format(keyspace)}`" in text
    for must in (
        "DEL cache:topic:<topic_id> lease:{cache:topic:<topic_id>} absent:{cache:topic:<topic_id>}",
        "SET session:<session_id> <json> XX KEEPTTL",
        "unpadded base64url of the SHA-256",
        "only this library begins sessions",
        "volatile-*",
        "greenroom:life:{session:<session_id>}",
    ):
        assert must in text
    assert "DEL p:cache:topic:<topic_id> p:lease:{p:cache:topic:<topic_id>}" in run("--key-prefix", "p:")


def test_what_is_printed_names_no_document_that_a_reader_lacks() -> None:
    for text in (run(), run("--json-schema"), run("--typescript")):
        assert "seed" not in text.lower()


def test_the_command_prints_schemas() -> None:
    schemas = json.loads(run("--json-schema"))
    assert set(schemas["properties"]) == set(BY_NAME) | {one.name for one in OURS}
    assert {"TopicObject", "SnippetDataObject"} <= {one["title"] for one in schemas["$defs"].values()}
