"""`docs/operations.md` names metrics, labels, settings, files and commands that there are."""

from __future__ import annotations

import ast
import io
import re
from dataclasses import fields
from functools import cache
from pathlib import Path

import rich_click as click

import greenroom
from greenroom.acl import Holds, Role
from greenroom.caching import Outcome
from greenroom.cli.group import group
from greenroom.counters import Counters
from greenroom.engine.transport.tls import OPTIONS
from greenroom_platform.domain.records import SnippetImport, TopicImport
from greenroom_platform.http import metrics
from greenroom_platform.http.metrics import Metrics
from greenroom_platform.http.settings import ENV_PREFIX, Settings, service_links
from greenroom_platform.storage import SqliteRecords, load
from tests.support.real_servers import Raw, Server
from tests.support.repository import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")
RULES = (ROOT / "deploy" / "prometheus" / "rules.yml").read_text("utf-8")


def test_every_alert_is_explained_and_no_other() -> None:
    alerts = re.findall(r"- alert: (\w+)", RULES)
    assert len(alerts) >= 9
    assert re.findall(r"^\| `(Greenroom\w+)` \|", PAGE, re.MULTILINE) == alerts


@cache
def strings() -> set[str]:
    """Every text that stands in the code."""
    found = set()
    for file in Path(greenroom.__file__).parent.parent.glob("greenroom*/**/*.py"):
        nodes = ast.walk(ast.parse(file.read_text("utf-8")))
        found |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return found


def test_every_metric_that_is_named_is_one() -> None:
    named = {re.sub(r"_(bucket|total|count|sum)$", "", name) for name in re.findall(r"\bgreenroom_\w+", PAGE)}
    there = {family.name for family in Metrics(Counters()).collect()}
    gauges = {text for text in strings() if text.startswith("greenroom_")}
    assert len(named) >= 9
    assert named <= there | gauges
    for name, labels in re.findall(r"\b(greenroom_\w+)\{([\w,]+)\}", PAGE):
        (metric,) = [one for one in _families() if one[0] == re.sub(r"_total$", "", name)]
        assert metric[1] == labels.split(","), name


def _families() -> list[tuple[str, list[str]]]:
    both: dict[str, tuple[str, list[str]]] = metrics._COUNTS | metrics._HISTOGRAMS
    return [(name, labels) for name, (_, labels) in both.items()]


def test_every_label_that_a_rule_asks_for_is_counted() -> None:
    known = strings() | {outcome.value for outcome in Outcome} | {"tracked_lost", "plain_lost"}
    asked = re.findall(r"(outcome|kind|event)=(~?)\"([^\"]+)\"", RULES)
    assert {label for label, _, _ in asked} == {"outcome", "kind", "event"}
    for _, by_pattern, text in asked:
        for one in text.split("|") if by_pattern else [text]:
            assert any(re.fullmatch(one, name) for name in known), one


def test_the_lost_connection_alert_does_not_depend_on_the_workers() -> None:
    (rule,) = re.findall(r"- alert: GreenroomConnectionsLost[^\n]*\n +expr: ([^\n]+)", RULES)
    assert rule.endswith(" > 0"), "any other number would be one of workers"
    (looked_at, over) = re.findall(r"\[(\d+)m[:\]]", rule)
    assert rule.startswith("min_over_time(")
    assert int(over) > 2 * int(looked_at), "a restart is seen for as long as one look: it must not fill the whole time"


def test_every_field_of_the_server_that_is_named_is_told_by_it(valkey: Server) -> None:
    told = _told(valkey.raw())
    (paragraph,) = re.findall(r"On the servers themselves.*?\n\n", PAGE, re.DOTALL)
    for name in re.findall(r"`([a-z_]+)`", paragraph):
        # Those of replicas and clusters are told where there is one.
        assert name in told or name in ("master_link_status", "cluster_state"), name
    assert "tracking_total_keys" in told
    for setting in ("tracking-table-max-keys", "maxclients", "timeout", "appendfsync", "maxmemory"):
        assert setting in PAGE
        assert valkey.raw()("CONFIG", "GET", setting), setting


def _told(raw: Raw) -> set[str]:
    """The names of what INFO tells, and of what stands in the limits."""
    found = {line.partition(":")[0] for line in raw("INFO", "everything").decode().splitlines()}
    return found | {raw("CONFIG", "GET", "maxmemory")[0].decode()}


async def test_the_lines_to_load_are_loaded_and_every_member_is_named(tmp_path: Path) -> None:
    section = PAGE.partition("## Loading topics and snippets")[2].partition("\n## ")[0]
    lines = section.partition("```json\n")[2].partition("```")[0]
    records = await SqliteRecords.open(tmp_path / "record.sqlite3")
    try:
        result = await load(records, [("lines", io.BytesIO(lines.encode()))])
    finally:
        await records.close()
    assert (result.topics, result.snippets, result.bad) == (1, 1, 0)
    assert {*TopicImport.__struct_fields__, *SnippetImport.__struct_fields__} <= set(re.findall(r"`(\w+)`", section))


def test_every_setting_option_command_and_file_that_is_named_is_there() -> None:
    known = {ENV_PREFIX + one.name.upper() for one in fields(Settings)}
    named = dict.fromkeys(re.findall(r"GREENROOM_\w+", PAGE), "tcp://10.0.0.1:8000")
    assert set(named) - set(service_links(named)) <= known
    # Of addresses of servers: those of the API have parameters of their own.
    assert set(re.findall(r"[?&](\w+)=", re.sub(r"/api/v1\S+", "", PAGE))) <= set(OPTIONS)
    commands = set(re.findall(r"^    greenroom (\w+)", PAGE, re.MULTILINE))
    assert {"doctor", "audit", "size", "explain", "status"} <= commands
    assert commands <= set(group.list_commands(click.Context(group)))
    assert set(re.findall(r"`--holds (\w+)`", PAGE)) <= {one.value for one in Holds}
    assert {role.value for role in Role} <= set(re.findall(r"\w+", PAGE))
    for path in (
        *re.findall(r"`(tests/\w+\.py)`", PAGE),
        *(f"docs/{link}" for link in re.findall(r"\]\((\w+\.md)\)", PAGE)),
    ):
        assert (ROOT / path).is_file(), path
    for target in re.findall(r"`make (\w+)`", PAGE):
        assert f"\n{target}:" in (ROOT / "Makefile").read_text("utf-8")
