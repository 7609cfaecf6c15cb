"""`greenroom doctor`: whether everything that a program uses is as it should be, and what mends what is not."""

from __future__ import annotations

import asyncio
import sys

import rich_click as click

from greenroom.cli.operators import (
    OperatorCommand,
    operator_options,
    print_checked,
    print_json,
    program,
    summary,
)
from greenroom.findings import carry_out, exit_status
from greenroom.inspection.doctor import Doctor, Watched


@click.command(cls=OperatorCommand)
@operator_options(admin=True)
def doctor(keyspaces: str | None, key_prefix: str | None, as_json: bool, **flags: str | None) -> None:
    """Check everything that the program uses: its servers and, of the installed program, its record and settings.

    Each finding says what is wrong, why it matters and how to mend it. Exit status: 0 nothing, 1 warnings, 2 errors.
    It uses the program's own addresses, so that it meets the program's own problems; with an administrator's address it
    sees users and settings too.
    """
    chosen = program(keyspaces, key_prefix, flags)
    watched = [
        Watched(one.address, one.holds, one.viewer, one.admin, chosen.deployment.processes) for one in chosen.servers
    ]
    servers = Doctor(chosen.declared, chosen.prefix, watched).checks()
    checked = asyncio.run(carry_out([*servers, *chosen.deployment.checks()]))
    findings = [finding for one in checked for finding in one.findings]
    status = exit_status(findings)
    if as_json:
        print_json({"status": status, "checks": checked})
    else:
        print_checked(checked)
        click.echo(summary(findings))
    sys.exit(status)
