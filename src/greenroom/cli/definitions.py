"""`greenroom definitions`: every keyspace, as Markdown, as JSON Schemas, or as TypeScript."""

from __future__ import annotations

import msgspec
import rich_click as click

from greenroom.cli.lookup import declared_at
from greenroom.cli.options import installed, key_prefix_option
from greenroom.keyspace.json_schema import json_schemas


@click.command()
@click.argument("declared_in", required=False, metavar="[MODULE:NAME]")
@click.option("--markdown", "form", flag_value="markdown", default=True, help="Print Markdown, which is the default.")
@click.option("--json-schema", "form", flag_value="json", help="Print JSON Schemas.")
@key_prefix_option
def definitions(declared_in: str | None, form: str, key_prefix: str | None) -> None:
    """Print every keyspace: formats, values, lifetimes, and what writers in other languages must know.

    MODULE:NAME is a room, a `Keyspaces`, or a list of keyspaces, as `shop.keys:SHOP`; the module is looked for in this
    directory first. Without it: the keyspaces of the installed program.
    """
    declared = installed() if declared_in is None else declared_at("MODULE:NAME", declared_in)
    keyspaces = declared.keyspaces.prefixed(declared.prefix(key_prefix))
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(json_schemas(keyspaces)), indent=2))
    else:
        click.echo(declared.markdown(keyspaces), nl=False)
