"""The keys of one form on a server, or on every primary of a cluster: for operators, over connections of their own.

Programs never look for keys. This asks for a thousand places at a time, so that no server stands still.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from greenroom.engine.address import Address
from greenroom.engine.operator import find_shards, looking

COUNT = 1000
"""Places of a server's table that one command looks at."""


async def scan(address: Address, pattern: str) -> AsyncIterator[list[str]]:
    """Keys that match a pattern, some at a time; a key may come twice, and one that comes or goes meanwhile may not.

    Arguments:
        pattern: as the server matches it, with its wildcards.

    Raises:
        EngineError: when a server cannot be asked, or refuses.
    """
    for shard in await find_shards(address):
        async with looking(shard) as look:
            cursor: bytes | int = 0
            while True:
                cursor, keys = await look.ask("SCAN", cursor, "MATCH", pattern, "COUNT", COUNT)
                yield [key.decode("utf-8", "replace") for key in keys]
                if cursor == b"0":
                    break
