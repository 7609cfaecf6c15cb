"""`greenroom audit --fix`: drops what an audit has found in caches, as writers in other languages do.

Each key goes with its lease and its absence in one command: what is loading it can then store nothing old. Values of
stores and sessions are nobody's to drop: they are in no record.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from greenroom.engine import Address
from greenroom.engine.operator import OperatorConnection, Pace, Shard, find_shards, looking
from greenroom.inspection.faults import Faulty
from greenroom.inspection.keys import KeyIndex, KeyKind
from greenroom.keyspace.derived_keys import with_derived_keys


async def mend(faults: Sequence[tuple[Faulty, Shard]], index: KeyIndex, address: Address, pace: Pace) -> list[Faulty]:
    """Drop what can be dropped; returns all faults, with those mended marked so.

    Arguments:
        address: of the server of the caches, with a user who may delete: the service's, or a worker's.

    Raises:
        EngineError: when the server cannot be asked, or refuses.
    """
    mended: list[Faulty] = []
    by_shard = {one.primary.hosts: one for one in await find_shards(address)} if faults else {}
    for where, found in by_shard.items():
        mine = [fault for fault, shard in faults if shard.primary.hosts == where and _may_drop(index, fault)]
        if mine:
            async with looking(found, pace=pace) as look:
                mended += [await _dropped(look, index, fault) for fault in mine]
    done = {(one.server, one.key, one.kind) for one in mended}
    return mended + [one for one, _ in faults if (one.server, one.key, one.kind) not in done]


def _may_drop(index: KeyIndex, fault: Faulty) -> bool:
    owner = index.owner(fault.key)
    return owner.kind in (KeyKind.VALUE, KeyKind.LEASE, KeyKind.ABSENCE) and owner.keyspace in index.keyspaces.caches


async def _dropped(look: OperatorConnection, index: KeyIndex, fault: Faulty) -> Faulty:
    await look.ask("DEL", *with_derived_keys(index.prefix, index.owner(fault.key).key))
    return msgspec.structs.replace(fault, mended=True)
