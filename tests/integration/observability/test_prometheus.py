"""The collector for Prometheus: a room's numbers in a registry, before it is open and after it is closed."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from greenroom import Greenroom
from greenroom.integrations.prometheus import COUNTS, HISTOGRAMS, collector
from tests.support.episode_caches import EPISODE, Loads
from tests.support.real_servers import Server
from tests.support.repository import ROOT

pytestmark = pytest.mark.one_kind


async def test_what_a_room_has_done_stands_in_the_registry(server: Server) -> None:
    registry, room = CollectorRegistry(), Greenroom(server.address)
    registry.register(collector(room))
    episodes = room.cache(EPISODE, load=Loads())
    assert "greenroom_near_entries" not in generate_latest(registry).decode(), "it is not open yet"
    async with room:
        for _ in range(3):
            await episodes.get("e1")
        lines = generate_latest(registry).decode().splitlines()
        assert 'greenroom_cache_reads_total{keyspace="cache_episode",outcome="loaded"} 1.0' in lines
        assert 'greenroom_cache_reads_total{keyspace="cache_episode",outcome="near"} 2.0' in lines
        assert 'greenroom_cache_load_seconds_count{keyspace="cache_episode"} 1.0' in lines
        assert 'greenroom_server_up{uses="caches and sessions"} 1.0' in lines
        assert "greenroom_near_entries 1.0" in lines
        assert "greenroom_unsent_drops 0.0" in lines
    assert 'outcome="near"} 2.0' in generate_latest(registry).decode(), "what was counted stays"


async def test_a_forked_child_is_scraped_for_what_was_counted(server: Server) -> None:
    registry, room = CollectorRegistry(), Greenroom(server.address)
    registry.register(collector(room))
    async with room:
        await room.cache(EPISODE, load=Loads()).get("e1")
        reads, writes = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.write(writes, generate_latest(registry))
            except BaseException as error:
                os.write(writes, repr(error).encode())
            finally:
                os._exit(0)
        os.close(writes)
        with os.fdopen(reads, "rb") as scraped:
            text = scraped.read().decode()
        await asyncio.to_thread(os.waitpid, child, 0)
    assert 'greenroom_cache_reads_total{keyspace="cache_episode",outcome="loaded"} 1.0' in text, text
    assert "greenroom_near_entries" not in text


async def test_a_registry_refuses_a_second_room(server: Server) -> None:
    registry = CollectorRegistry()
    registry.register(collector(Greenroom(server.address)))
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(collector(Greenroom(server.address)))


async def test_another_thread_may_scrape_while_the_room_counts() -> None:
    registry, room, seen = CollectorRegistry(), Greenroom("valkey://127.0.0.1:1"), list[bytes]()
    registry.register(collector(room))
    stop = threading.Event()

    def scrape() -> None:
        while not stop.is_set():
            seen.append(generate_latest(registry))

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        number = 0
        while len(seen) < 20 and thread.is_alive():
            number += 1
            room.counters.begin_cache(f"k{number % 50}", [f"o{number % 7}"])
            if number % 50 == 0:
                room.counters.reads.clear()
    finally:
        stop.set()
        thread.join()
    assert len(seen) >= 20


def documented() -> Iterator[tuple[str, str]]:
    page = (ROOT / "docs" / "operating-a-room.md").read_text("utf-8")
    yield from re.findall(r"`(greenroom_\w+?)(?:_total)?(?:\{([\w,]+)\})?`", page)


def test_the_page_names_every_metric_with_its_labels() -> None:
    named = {name: labels for name, labels in documented() if labels}
    there = {name: ",".join(one.labels) for name, one in (COUNTS | HISTOGRAMS).items() if one.labels}
    assert there.items() <= named.items()
