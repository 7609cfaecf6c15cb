"""The short form of `python -m torture --on streams`: mutated streams, and proof that they find faults."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom.engine.protocol import wire
from greenroom.engine.shapes import ANYTHING
from torture.streams import CLUSTER, SERVER, run_streams

SEED = "greenroom"


@pytest.mark.parametrize("address", [SERVER, CLUSTER])
async def test_whatever_becomes_of_the_bytes_nobody_gets_what_is_anothers(address: str) -> None:
    wrong, told = await run_streams(SEED, 200, address=address)
    assert wrong == []
    assert told["str"] > 200, "most readers are answered"


async def test_that_replies_have_no_shape_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "SHAPES", _Unshaped())
    wrong, _ = await run_streams(SEED, 60, address=SERVER)
    assert any("got" in one or "Error" in one for one in wrong)


class _Unshaped(dict[Any, Any]):
    def get(self, _: object, default: object = None) -> Any:
        return ANYTHING
