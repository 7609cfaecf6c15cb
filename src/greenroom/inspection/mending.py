"""`greenroom audit --fix`: drops what an audit has found in caches, as writers in other languages do.

Each key goes with its lease and its absence in one command: what is loading it can then store nothing old. Values of
stores and sessions are nobody's to drop: they are in no record.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from greenroom.engine import Address
from greenroom.engine.operator import OperatorConnection, Pace, find_shards, looking
from greenroom.inspection.faults import Faulty
from greenroom.inspection.keys import KeyIndex, KeyKind
from greenroom.keyspace.derived_keys import with_derived_keys


async def mend(faults: Sequence[Faulty], index: KeyIndex, address: Address, pace: Pace) -> list[Faulty]:
    """Drop what can be dropped; returns all faults, with those mended marked so.

    Arguments:
        address: of the server of the caches, with a user who may delete: the service's, or a worker's.

    Raises:
        EngineError: when the server cannot be asked, or refuses.
    """
    result = [fault for fault in faults if not _may_drop(index, fault)]
    dropped = [fault for fault in faults if _may_drop(index, fault)]
    for shard in await find_shards(address) if dropped else ():
        # By slot, not by the address where it was found: the viewer's may have another name for the same server.
        if mine := [fault for fault in dropped if shard.owns(fault.key)]:
            async with looking(shard, pace=pace) as look:
                result += [await _dropped(look, index, fault) for fault in mine]
    return result


def _may_drop(index: KeyIndex, fault: Faulty) -> bool:
    owner = index.owner(fault.key)
    return owner.kind in (KeyKind.VALUE, KeyKind.LEASE, KeyKind.ABSENCE) and owner.keyspace in index.keyspaces.caches


async def _dropped(look: OperatorConnection, index: KeyIndex, fault: Faulty) -> Faulty:
    await look.ask("DEL", *with_derived_keys(index.prefix, index.owner(fault.key).key))
    return msgspec.structs.replace(fault, mended=True)
