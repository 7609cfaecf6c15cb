"""The names of bookkeeping keys that stand beside a key.

The braces make a companion hash to its key's own cluster slot, so that one script may touch both: a key of ours never
holds a brace itself. A prefix stands before the companion *and* inside its braces, else the two slots differ.
"""

from __future__ import annotations


def lease_key(prefix: str, key: str) -> str:
    """Who loads `key` at the moment; `key` carries the prefix already."""
    return f"{prefix}lease:{{{key}}}"


def absent_key(prefix: str, key: str) -> str:
    """The short memory that the record holds nothing for `key`."""
    return f"{prefix}absent:{{{key}}}"


def with_derived_keys(prefix: str, key: str) -> tuple[str, str, str]:
    """Lease, key and absence, in this order; for what is done for 10,000 keys."""
    return f"{prefix}lease:{{{key}}}", key, f"{prefix}absent:{{{key}}}"


def derived_key(prefix: str, use: str, tag: str) -> str:
    """Any other bookkeeping, as `greenroom:touched:{session:<id>}`."""
    return f"{prefix}greenroom:{use}:{{{tag}}}"


def is_key(text: str, prefix: str) -> bool:
    """Whether a text can be a key that has companions, and is none itself."""
    return (
        text.startswith(prefix)
        and not text.startswith((f"{prefix}lease:", f"{prefix}absent:", f"{prefix}greenroom:"))
        and "{" not in text
        and "}" not in text
        and text.isprintable()
        and text != prefix
    )


def are_keys(lines: str, number: int, prefix: str) -> bool:
    """Whether so many lines are keys, each of which `is_key`; without a step of Python for each."""
    framed = f"\n{lines}\n"
    never = "{", "}", "\ufffd", *(f"\n{prefix}{one}" for one in ("lease:", "absent:", "greenroom:", "\n"))
    return (
        framed[:-1].count(f"\n{prefix}") == number == lines.count("\n") + 1
        and not any(one in framed for one in never)
        and lines.replace("\n", "").isprintable()
    )


def owner(name: str) -> str:
    """The key that a lease or an absence belongs to; any other name is returned as it is."""
    return name[name.index("{") + 1 : -1] if name.endswith("}") and "{" in name else name
