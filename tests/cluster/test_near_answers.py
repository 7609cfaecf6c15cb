"""A near hit that is answered before the router, on a cluster: a slot that moves takes the answer with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.both_ways import both_ways, edit
from tests.support.cluster_slots import Move, atomic, classic, failover, off_loop
from tests.support.patience import until
from tests.support.real_cluster import Cluster, slot_of
from tests.support.running_service import API
from tests.support.stream_listeners import TOPIC

PAGE = f"{API}/snippets?topic_id={TOPIC}&page=1"
PAGE_KEY = f"cache:snippets:topic:{TOPIC}:page:1"
NEW = {"topic_id": TOPIC, "title": "New", "text_content": "Some text."}


@pytest.mark.parametrize("move", [classic, atomic, failover])
async def test_a_slot_that_moves_ends_what_was_answered_fast(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, move: Move
) -> None:
    async with both_ways(tmp_path, monkeypatch, cache_url=cluster.address) as ways:
        await edit(ways, "POST", "/snippets", json.dumps(NEW).encode())
        await ways.warm(PAGE)
        pages = ways.platform.snippets.pages
        slot = slot_of(PAGE_KEY)
        source = cluster.owner(slot)
        target = next(one for one in cluster.primaries if one is not source)
        await off_loop(move, cluster, slot, target)
        await until(lambda: PAGE_KEY not in set(pages._near))
        assert not (await ways.get(PAGE)).fast
        await ways.warm(PAGE)
