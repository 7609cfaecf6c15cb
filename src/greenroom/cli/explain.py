"""`greenroom explain KEY`: which keyspace a key is of, its parts and companions, where it is and what is there."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

import rich_click as click

from greenroom.acl import Holds
from greenroom.cli.operators import (
    OperatorCommand,
    Program,
    operator_options,
    print_findings,
    print_json,
    program,
)
from greenroom.engine.operator import find_shards, looking
from greenroom.errors import GreenroomError, InvalidInput
from greenroom.findings import exit_status
from greenroom.inspection.explain import Explained, declared_of, look_up
from greenroom.inspection.keys import KeyIndex
from greenroom.printable import printable

_LINES = (
    "kind",
    "keyspace",
    "held_by",
    "pattern",
    "of",
    "slot",
    "server",
    "replica",
    "type",
    "bytes",
    "lease",
    "record",
)


@click.command(cls=OperatorCommand)
@operator_options()
@click.option("--offline", is_flag=True, help="Ask no server: use the declarations only.")
@click.argument("key", metavar="KEY")
def explain(
    keyspaces: str | None, key_prefix: str | None, as_json: bool, offline: bool, key: str, **flags: str | None
) -> None:
    """Explain KEY: its keyspace, parts, companions, groups and slot, and the value that is stored now.

    Exit status: 0 all is well, 1 warnings, 2 no keyspace has the key, or its value is wrong.
    """
    if not key:
        raise InvalidInput("KEY", "is empty", "give a key as it is on the server")
    try:
        key.encode()
    except UnicodeEncodeError:
        raise InvalidInput("KEY", "is not UTF-8", "give another: no keyspace has such a key") from None
    chosen = program(keyspaces, key_prefix, flags, needs_server=not offline)
    index = KeyIndex(chosen.declared, chosen.prefix)
    told = declared_of(index, key)
    if not offline:
        asyncio.run(_look_up(chosen, index, told))
    status = exit_status(told.findings)
    if as_json:
        print_json(told)
    else:
        _print(told)
    sys.exit(status)


async def _look_up(chosen: Program, index: KeyIndex, told: Explained) -> None:
    wanted = Holds.SESSIONS if told.held_by == "sessions" else Holds.CACHES
    servers = [one for one in chosen.servers if one.holds in (wanted, Holds.BOTH)] or list(chosen.servers)
    async with AsyncExitStack() as stack:
        record = None
        if chosen.deployment.record is not None:
            try:
                record = await stack.enter_async_context(chosen.deployment.record())
            except GreenroomError as error:
                told.record = f"not compared: {error}"
        for shard in await find_shards(servers[0].viewer or servers[0].address):
            if shard.owns(told.key):
                async with looking(shard) as look:
                    await look_up(told, index, look, shard, record)
                return


def _print(told: Explained) -> None:
    click.echo(printable(told.key))
    for name in _LINES:
        value = getattr(told, name)
        if value is not None and value != told.key:
            click.echo(printable(f"  {name.replace('_', ' '):<10} {value}"))
    if told.left_ms is not None:
        left = "never expires" if told.left_ms < 0 else f"expires in {told.left_ms / 1000:,.1f} s"
        fresh = "" if told.fresh is None else ", fresh" if told.fresh else ", stale: the next read loads it behind"
        click.echo(f"  {'lifetime':<10} {left}{fresh}")
    for name, value in {**told.parts, **told.companions}.items():
        label = "part" if name in told.parts else "beside"
        click.echo(printable(f"  {label:<10} {name} = {value}"))
    for group in told.groups:
        click.echo(printable(f"  {'group':<10} {group}"))
    print_findings(told.findings)
