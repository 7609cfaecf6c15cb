"""`greenroom status`: how the program is, in a sentence, and a line for each keyspace and server."""

from __future__ import annotations

import asyncio
import sys

import rich_click as click

from greenroom.cli.operators import OperatorCommand, operator_options, print_findings, print_json, program
from greenroom.findings import exit_status
from greenroom.inspection.status import KeyspaceLine, ServerLine, Status
from greenroom.inspection.status import status as found_status
from greenroom.printable import printable


@click.command(cls=OperatorCommand)
@operator_options()
@click.option(
    "--service",
    metavar="URL",
    help="The service's address, as http://127.0.0.1:8000. Default: that of its settings.",
)
@click.option("--no-service", is_flag=True, help="Ask only the servers.")
def status(
    keyspaces: str | None,
    key_prefix: str | None,
    as_json: bool,
    service: str | None,
    no_service: bool,
    **flags: str | None,
) -> None:
    """Show the state of the program: the worst problem in one sentence, then keyspaces and servers.

    A service is asked for /health/ready and /metrics too. Exit status: 0 all is well, 1 warnings, 2 errors.
    """
    chosen = program(keyspaces, key_prefix, flags)
    deployment = chosen.deployment
    url = None if no_service else service or deployment.service
    # The token is for the program's own service, and for nobody whom a flag names elsewhere.
    token = deployment.token if url is not None and url == deployment.service else None
    addresses = [one.viewer or one.address for one in chosen.servers]
    found = asyncio.run(found_status(addresses, chosen.declared.keyspaces, url and url.rstrip("/"), token))
    if as_json:
        print_json(found)
    else:
        _print(found)
    sys.exit(exit_status(found.findings))


def _print(found: Status) -> None:
    click.echo(printable(found.sentence))
    for keyspace in found.keyspaces:
        click.echo(printable(_keyspace(keyspace)))
    for server in found.servers:
        click.echo(printable(_server(server)))
    for name, value in found.gauges.items():
        click.echo(f"  {name.removeprefix('greenroom_').replace('_', ' ')}: {value:,.0f}")
    print_findings(found.findings)


def _keyspace(one: KeyspaceLine) -> str:
    spared = "nothing read" if one.spared is None else f"{one.reads:,} reads, {one.spared:.1%} without the record"
    errors = "".join(f", {number:,} {kind}" for kind, number in one.errors.items())
    return f"  {one.name}: {spared}{errors}"


def _server(one: ServerLine) -> str:
    if one.error is not None:
        return f"  {one.address}: {one.error}"
    memory = f"{one.used / 1024**2:,.0f} MiB" + (f" of {one.bound / 1024**2:,.0f}" if one.bound else "")
    return (
        f"  {one.address}: {one.role}, version {one.version}, {one.keys:,} keys, {memory}, {one.clients:,} clients, "
        f"{one.commands_per_second:,} commands a second, {one.evicted:,} evicted, {one.replicas} replicas"
    )
