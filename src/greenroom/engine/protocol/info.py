"""What a server tells of itself in lines of `name:value`, as INFO and CLUSTER INFO do."""

from __future__ import annotations


def fields(reply: object) -> dict[str, str]:
    """The lines of a reply; empty where it is no such text."""
    if not isinstance(reply, bytes):
        return {}
    lines = (line.partition(":") for line in reply.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in lines if colon}
