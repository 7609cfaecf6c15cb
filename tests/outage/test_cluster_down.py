"""A cluster that is down for one shard: its other nodes refuse, and calls do not wait for that one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from time import monotonic

import pytest

from greenroom.engine import Channel
from greenroom.engine.cluster.cluster import Clustered
from greenroom.errors import EngineUnavailable
from tests.support.patience import PATIENT, wait_for
from tests.support.proxy import ClusterProxy
from tests.support.real_cluster import Cluster

Connect = Callable[..., Awaitable[Clustered]]

ASKED = 2
"""Attempts of the first call that are answered."""


async def test_a_deadline_between_two_refusals_spares_the_next_calls(cluster: Cluster, connect: Connect) -> None:
    """The call was refused, asked again, and its deadline came before the answer: as on any busy machine."""
    victim, well = cluster.primaries[:2]
    (key,) = well.keys(1)
    async with ClusterProxy(cluster, key) as proxy:
        engine = await connect(proxy, limits=replace(PATIENT, probe_max=600))

        async def ask() -> None:
            # The call alone is over then. Were its connection, the next call would be sent twice.
            await engine.execute(Channel.TRACKED, key, "GET", key, deadline=monotonic() + 3)

        cluster.replica_of(victim).kill()
        victim.kill()
        down = asyncio.get_running_loop().run_in_executor
        await down(None, wait_for, lambda: well.info["cluster_state"] == "fail", 30)
        held = proxy.hold("GET", key, skip=ASKED)
        reached = asyncio.create_task(held.reached.wait())
        while True:
            call = asyncio.create_task(ask())
            await asyncio.wait([call, reached], return_when=asyncio.FIRST_COMPLETED)
            if reached.done():
                break
            # The machine stood still: the deadline came before the attempt that is held.
            assert isinstance(call.exception(), EngineUnavailable)
            held.skip = ASKED
        with pytest.raises(EngineUnavailable, match="CLUSTERDOWN"):
            await call
        held.release()
        well.ok("CONFIG", "RESETSTAT")
        for _ in range(3):
            with pytest.raises(EngineUnavailable, match="CLUSTERDOWN"):
                await ask()
        refusals = int(well("INFO", "errorstats").split(b"errorstat_CLUSTERDOWN:count=")[1].split(b"\r\n")[0])
        assert refusals <= 3 + 1, "one attempt each, and the held one where it came after the reset"
