"""The short form of `python -m torture --on streams`: mutated streams, and proof that they find faults."""

from __future__ import annotations

import asyncio
import hashlib
import random
from typing import Any

import pytest

from greenroom.engine.protocol import wire
from greenroom.engine.shapes import ANYTHING
from greenroom.errors import EngineUnavailable
from torture import canned as server
from torture.canned import Bursts, canned
from torture.mutations import Mutation
from torture.streams import BLOCK, CLUSTER, SERVER, opened, run_streams, up_to

SEED = "greenroom"


@pytest.mark.parametrize("address", [SERVER, CLUSTER])
async def test_whatever_becomes_of_the_bytes_nobody_gets_what_is_anothers(address: str) -> None:
    run = await run_streams(SEED, range(200), address=address)
    assert run.wrong == []
    assert run.told["str"] > 200, "most readers are answered"


async def test_a_stream_is_run_with_those_before_it_that_share_its_client() -> None:
    assert up_to(2 * BLOCK + 7) == range(2 * BLOCK, 2 * BLOCK + 8)
    run = await run_streams(SEED, up_to(2), address=SERVER)
    assert set(run.mutations) <= {0, 1, 2}
    assert run.mutations[0].data != run.mutations[0].before


@pytest.mark.parametrize("address", [SERVER, CLUSTER])
async def test_a_read_that_becomes_an_attribute_shows_nobody_anothers_session(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mutated(frames: list[bytes], _: random.Random) -> Mutation:
        data = b"".join(frames)
        return Mutation("an attribute", data, b"|" + data[1:])

    monkeypatch.setattr(server, "mutate", mutated)
    sessions = [hashlib.sha256(b"%d" % n).hexdigest()[:43] for n in range(12)]
    bursts = Bursts(random.Random(SEED))
    async with canned(bursts), opened(address) as client:
        bursts.due = 0
        users = await asyncio.gather(*map(client.user, sessions), return_exceptions=True)
    assert bursts.mutation is not None
    assert bursts.mutation.before.count(b"*4") == len(sessions)
    for session, user in zip(sessions, users, strict=True):
        assert user in (session, None) or isinstance(user, EngineUnavailable)


async def test_that_replies_have_no_shape_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "SHAPES", _Unshaped())
    # How far a stream comes before its deadline is the machine's doing: one block of them is enough, whichever it is.
    for first in range(0, 20 * BLOCK, BLOCK):
        run = await run_streams(SEED, range(first, first + BLOCK), address=SERVER)
        if any("got" in one or "Error" in one for one in run.wrong):
            return
    raise AssertionError("nothing was found out")


class _Unshaped(dict[Any, Any]):
    def get(self, _: object, default: object = None) -> Any:
        return ANYTHING
