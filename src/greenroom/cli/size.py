"""`greenroom size`: what each keyspace takes on the servers, and what they need."""

from __future__ import annotations

import asyncio
import sys

import rich_click as click

from greenroom.cli.operators import (
    OperatorCommand,
    bounds_options,
    operator_options,
    print_findings,
    print_json,
    program,
    summary,
)
from greenroom.engine.operator import Pace
from greenroom.findings import exit_status
from greenroom.inspection.keys import KeyIndex, KeyKind
from greenroom.inspection.sampling import Bounds
from greenroom.inspection.size import BIGGEST, Measure, ServerSize, Size
from greenroom.printable import printable

_PLAIN = {KeyKind.VALUE.value: "", KeyKind.NOBODY.value: " (nobody's)", KeyKind.STRAY.value: " (of no declared key)"}


@click.command(cls=OperatorCommand)
@operator_options()
@bounds_options
@click.option(
    "--times",
    metavar="NUMBER",
    type=click.FloatRange(0.01),
    default=1.0,
    show_default=True,
    help="Estimate for this many times as many keys.",
)
def size(
    keyspaces: str | None,
    key_prefix: str | None,
    as_json: bool,
    sample: int,
    keys: int,
    rate: float,
    times: float,
    **flags: str | None,
) -> None:
    """Measure a sample of each keyspace's keys, and estimate the memory of all keys and the maxmemory they need.

    Sums are printed with their margin of error (95 %). Exit status: 0 all is well, 1 a server is too small
    for its keys, or a tenth of them belong to no keyspace, 2 it cannot look.
    """
    chosen = program(keyspaces, key_prefix, flags)
    measure = Measure(KeyIndex(chosen.declared, chosen.prefix), Bounds(keys, sample), Pace(rate), times)
    found = asyncio.run(measure.run([one.viewer or one.address for one in chosen.servers]))
    status = exit_status(found)
    if as_json:
        print_json({"status": status, "servers": measure.servers, "findings": found})
    else:
        for server in measure.servers:
            _print(server)
        print_findings(found)
        click.echo(summary(found))
    sys.exit(status)


def _print(server: ServerSize) -> None:
    at = " (a replica)" if server.at_replica else ""
    click.echo(printable(f"{server.address}{at}: {server.looked:,} of {server.keys:,} keys looked through"))
    bound = f"{_bytes(server.bound)}" if server.bound else "none"
    click.echo(f"  uses {_bytes(server.used)}, maxmemory {bound}, projected {_bytes(server.projected)}")
    for one in server.sizes:
        click.echo(printable(_line(one)))
    biggest = sorted((big for one in server.sizes for big in one.biggest), reverse=True)[:BIGGEST]
    if biggest:
        click.echo("  biggest of the sample:")
    for big in biggest:
        click.echo(printable(f"    {_bytes(big.bytes):>10}  {big.key}"))


def _line(one: Size) -> str:
    name = (one.name or "(no colon)") + _PLAIN.get(one.kind, f" ({one.kind})")
    if not one.sampled:
        return f"  {name:<32} {one.keys:>9,} keys  not measured: this user may not read them"
    off = f" ± {_bytes(one.high - one.bytes)}" if one.high > one.bytes else ""
    left = ", ".join(f"{bar}: {number}" for bar, number in one.lifetimes.items())
    return f"  {name:<32} {one.keys:>9,} keys  {_bytes(one.bytes):>10}{off}  left {left}"


def _bytes(number: int) -> str:
    for unit, size_ in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if number >= size_:
            return f"{number / size_:,.1f} {unit}"
    return f"{number} B"
