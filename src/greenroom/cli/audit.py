"""`greenroom audit`: a sample of what the servers hold, compared with its declaration and with the record."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from contextlib import AsyncExitStack

import rich_click as click

from greenroom.acl import Holds
from greenroom.cli.operators import (
    OperatorCommand,
    Program,
    bounds_options,
    operator_options,
    print_findings,
    print_json,
    program,
    summary,
)
from greenroom.engine.operator import Pace
from greenroom.errors import GreenroomError, InvalidInput
from greenroom.findings import Finding, exit_status, warning
from greenroom.inspection.audit import Audit
from greenroom.inspection.faults import Faulty
from greenroom.inspection.keys import KeyIndex
from greenroom.inspection.mending import mend
from greenroom.inspection.sampling import Bounds
from greenroom.printable import printable

_SHOWN = 20
"""Keys of each kind of fault that are printed; `--json` has all of them."""


@click.command(cls=OperatorCommand)
@operator_options()
@bounds_options
@click.option("--fix", is_flag=True, help="Drop wrong values from the caches; stores and sessions stay.")
@click.argument("names", nargs=-1, metavar="[KEYSPACE]...")
def audit(
    keyspaces: str | None,
    key_prefix: str | None,
    as_json: bool,
    sample: int,
    keys: int,
    rate: float,
    fix: bool,
    names: tuple[str, ...],
    **flags: str | None,
) -> None:
    """Compare a sample of the stored keys with their declarations and the record; of all keyspaces, or those named.

    It finds stale values and absences, keys and types of other programs, values that fit no schema, lifetimes that are
    missing or too long, and leases without a holder. Each finding is checked again after 2 s. Exit status: 0 nothing
    (or all of it dropped), 1 warnings, 2 errors.
    """
    chosen = program(keyspaces, key_prefix, flags)
    index = KeyIndex(chosen.declared, chosen.prefix)
    if unknown := set(names) - {one.name for one in index.keyspaces}:
        known = ", ".join(one.name for one in index.keyspaces)
        raise InvalidInput("KEYSPACE", f"there is no {', '.join(sorted(unknown))}", f"name some of {known}")
    looked = Audit(index, None, Bounds(keys, sample), Pace(rate), only=frozenset(names))
    faults, notes = asyncio.run(_run(chosen, looked, fix=fix))
    status = exit_status([*(one for one in faults if not one.mended), *notes])
    if as_json:
        tallies = [*looked.keyspaces.values()]
        told = {"status": status, "servers": looked.servers, "keyspaces": tallies, "faults": faults, "notes": notes}
        print_json(told)
    else:
        _print(looked, faults, notes)
    sys.exit(status)


async def _run(chosen: Program, looked: Audit, *, fix: bool) -> tuple[list[Faulty], list[Finding]]:
    notes: list[Finding] = []
    async with AsyncExitStack() as stack:
        if chosen.deployment.record is not None:
            try:
                looked.record = await stack.enter_async_context(chosen.deployment.record())
            except GreenroomError as error:
                notes.append(_without_record(str(error)))
        found = await looked.run([(one.holds, one.viewer or one.address) for one in chosen.servers])
    notes += [
        _without_record(f"{one.not_compared} values of {one.name} could not be compared: {one.reason}")
        for one in looked.keyspaces.values()
        if one.not_compared and one.reason
    ]
    of_caches = [one for one in chosen.servers if one.holds is not Holds.SESSIONS]
    if fix and of_caches:
        return await mend(found, looked.index, of_caches[0].address, looked.pace), notes
    return found, notes


def _without_record(what: str) -> Finding:
    why = "stale values among them are not found"
    return warning("not_compared", what, why, "name the record, as --database-url, or start it; then look again")


def _print(looked: Audit, faults: list[Faulty], notes: list[Finding]) -> None:
    for server in looked.servers:
        at = " (a replica)" if server.at_replica else ""
        click.echo(printable(f"{server.address}{at}: {server.looked:,} of {server.keys:,} keys looked through"))
    for one in looked.keyspaces.values():
        compared = f", {one.compared:,} compared with the record" if one.compared else ""
        click.echo(f"  {one.name}: {one.found:,} met, {one.sampled:,} looked at{compared}")
    many = Counter(one.kind for one in faults)
    shown: Counter[str] = Counter()
    for fault in sorted(faults, key=lambda one: one.severity):
        shown[fault.kind] += 1
        if shown[fault.kind] > _SHOWN:
            continue
        if fault.mended:
            click.echo(printable(f"     dropped: {fault.what}"))
        else:
            print_findings([fault])
        if shown[fault.kind] == _SHOWN < many[fault.kind]:
            click.echo(f"     and {many[fault.kind] - _SHOWN:,} more that are {fault.kind}; --json has them")
    print_findings(notes)
    left = [one for one in faults if not one.mended]
    dropped = f"{len(faults) - len(left):,} dropped. " if len(left) < len(faults) else ""
    click.echo(dropped + summary([*left, *notes]))
