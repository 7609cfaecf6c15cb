"""`greenroom definitions`: every keyspace, as Markdown or as JSON Schemas."""

from __future__ import annotations

import msgspec
import rich_click as click

from greenroom.cli.options import installed, key_prefix_option


@click.command()
@click.option("--json-schema", is_flag=True, help="Print JSON Schemas instead of Markdown.")
@key_prefix_option
def definitions(json_schema: bool, key_prefix: str | None) -> None:
    """Print every keyspace: formats, values, lifetimes, and what writers in other languages must know."""
    declared = installed()
    prefix = declared.prefix(key_prefix)
    if json_schema:
        schemas = msgspec.json.encode(declared.schemas(prefix))
        click.echo(msgspec.json.format(schemas, indent=2))
    else:
        click.echo(declared.markdown(prefix), nl=False)
