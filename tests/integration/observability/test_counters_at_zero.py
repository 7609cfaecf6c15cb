"""What can be counted stands at 0 from the start, so that the documented rules see the first step."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

import greenroom
import greenroom.caching as caching_package
from greenroom import Greenroom, Keyspace, Outcome
from greenroom.counters import CACHE_ERRORS, CACHE_EVENTS, SESSION_EVENTS, STORE_ERRORS
from greenroom.integrations.prometheus import collector
from tests.support.episode_caches import EPISODE, KEY, Episode, Loads
from tests.support.real_servers import Server
from tests.support.repository import ROOT
from tests.support.scrapes import increase, scraped

pytestmark = pytest.mark.one_kind

BASKET = Keyspace("basket:{user_id}", Episode, ttl=timedelta(hours=1))


async def test_the_documented_alert_sees_the_first_broken_value(server: Server) -> None:
    rules = (ROOT / "deploy" / "prometheus" / "rules.yml").read_text("utf-8")
    (rule,) = re.findall(r"- alert: GreenroomForeignValues[^\n]*\n *expr: ([^\n]+)", rules)
    told = re.search(r"increase\((\w+)\{kind=~\"([^\"]+)\"\}\[10m\]\)\) > 0", rule)
    assert told is not None
    registry = CollectorRegistry()
    async with Greenroom(server.address) as room:
        registry.register(collector(room))
        episodes = room.cache(EPISODE, load=Loads())
        before = scraped(registry.collect())
        server.raw()("SET", KEY, b'{"of another": "schema"}', "EX", 600)
        assert await episodes.get("e1") == Episode("e1")
        after = scraped(registry.collect())
    assert increase(before, after, told[1], kind=told[2]) == 1


async def test_every_counter_of_a_declared_keyspace_stands_at_0(server: Server) -> None:
    registry = CollectorRegistry()
    async with Greenroom(server.address) as room:
        registry.register(collector(room))
        episodes, baskets = room.cache(EPISODE, load=Loads()), room.store(BASKET)
        found = scraped(registry.collect())
        for name, label, values in (
            ("greenroom_cache_reads_total", "outcome", [one.value for one in Outcome]),
            ("greenroom_cache_errors_total", "kind", CACHE_ERRORS),
            ("greenroom_cache_events_total", "event", CACHE_EVENTS),
        ):
            for value in values:
                labels = frozenset({"keyspace": episodes.keyspace.name, label: value}.items())
                assert found[name, labels] == 0, (name, value)
        for outcome in ("near", "hit", "miss"):
            labels = frozenset({"keyspace": baskets.keyspace.name, "outcome": outcome}.items())
            assert found["greenroom_cache_reads_total", labels] == 0
        assert found["greenroom_cache_load_seconds_count", frozenset({"keyspace": EPISODE.name}.items())] == 0
        for event in SESSION_EVENTS:
            assert found["greenroom_session_events_total", frozenset({"event": event}.items())] == 0
        for event in ("tracked_lost", "plain_lost", "flush", "push"):
            labels = frozenset({"node": server.address, "event": event}.items())
            assert found["greenroom_engine_events_total", labels] == 0


async def test_a_keyspace_that_counts_already_is_not_set_back(server: Server) -> None:
    room = Greenroom(server.address)
    episodes = room.cache(EPISODE, load=Loads())
    for count in (1, 2):
        async with room:
            await episodes.get(f"e{count}")
            assert room.counters.reads[EPISODE.name, "loaded"] == count


def test_all_that_the_code_counts_by_name_begins_at_0() -> None:
    code = "\n".join(file.read_text("utf-8") for file in Path(greenroom.__file__).parent.rglob("*.py"))
    caching = "\n".join(file.read_text("utf-8") for file in Path(caching_package.__file__).parent.glob("*.py"))
    caches = set(re.findall(r"\._?count\(\"(\w+)\"", caching))
    caches |= set(re.findall(r"\"(\w+)\" if full else \"\w+\", flight", code))
    assert caches == set(CACHE_ERRORS)
    assert set(re.findall(r"count_event\(\"(\w+)\"\)", code)) == set(CACHE_EVENTS)
    assert set(re.findall(r"counters\.sessions\[\"(\w+)\",?\]", code)) == set(SESSION_EVENTS)
    assert set(re.findall(r"\.trouble\(self\._keyspace\.name, \"(\w+)\"", code)) == set(STORE_ERRORS)
