"""What programs in other languages must know of keyspaces, so that no reader is left with an old value."""

from __future__ import annotations

from collections.abc import Sequence

from greenroom.keyspace.derived_keys import absent_key, derived_key, lease_key
from greenroom.keyspace.docgen import markdown
from greenroom.keyspace.json_schema import angled, key_format, prefix_of
from greenroom.keyspace.lifetime import JITTER
from greenroom.keyspace.registry import Group, Keyspaces

_HEAD = """# Keyspaces

Printed by `greenroom definitions` from the declarations that the programs run on.

---

"""
_VALUES = """- **Values are pure JSON**, exactly the members above: no envelope, no version, no placeholder."""
_VERSIONED = """- **Values are pure JSON**, exactly the members above: no envelope, no placeholder. White space may
  stand before them: as many spaces as the version of the keyspace, where it has one."""


def document(keyspaces: Keyspaces, *, head: str = _HEAD, values: str = "", stale: str = "", sessions: str = "") -> str:
    """The whole document of keyspaces: a section for each, and what writers in other languages must know.

    Arguments:
        keyspaces: with their prefix.
        head: stands before the sections.
        values: what is said of values, keys and their order; by default that they are pure JSON.
        stale: which keys a change makes stale, in one sentence.
        sessions: what is said of sessions besides, in one sentence.
    """
    values = values or (_VERSIONED if any(one.version for one in keyspaces) else _VALUES)
    told = for_other_writers(keyspaces, values=values, stale=stale, sessions=sessions)
    sections = markdown(keyspaces)  # none where a room has rate limits alone
    return head + (sections and sections + "\n---\n\n") + "## For writers in other languages\n\n" + told


def for_other_writers(keyspaces: Keyspaces, *, values: str, stale: str, sessions: str) -> str:
    """The rules, one a paragraph of a list; the arguments are those of `document`."""
    prefix = prefix_of(keyspaces)
    rules = [values]
    if keyspaces.caches:
        rules += [_drop(keyspaces, prefix, stale), *_groups(keyspaces.groups, prefix), _generation(keyspaces, prefix)]
        rules.append(
            "- **Lifetimes**: a cached value has an expiry, at most the one above. One without is given it when it is "
            f"met. Jitter\n  only shortens, by at most {JITTER:.0%}."
        )
    if keyspaces.stores:
        names = ", ".join(f"`{key_format(one)}`" for one in keyspaces.stores)
        rules.append(
            f"- **Stores**: {names}. Their values are here and nowhere else. Write one with an expiry, as\n"
            "  `SET <key> <json> PX <ms>`, and change one with `SET <key> <json> XX KEEPTTL`."
        )
    rules += _sessions(keyspaces, prefix, sessions)
    rules.append(
        "- **Bookkeeping** keys carry their key in braces, so that both are in one cluster slot. A key prefix stands "
        "before the\n  bookkeeping key and again before the key inside its braces."
    )
    rules.append(
        "- **Eviction**: a server of caches may evict with a `volatile-*` policy only, since groups have no expiry; a "
        "server of\n  sessions must not evict."
    )
    return "\n".join(rules) + "\n"


def _drop(keyspaces: Keyspaces, prefix: str, stale: str) -> str:
    key = key_format(keyspaces.caches[0])
    return f"""- **After each commit** to the record, drop what it made stale in *one* command, as
  `DEL {key} {lease_key(prefix, key)} {absent_key(prefix, key)}`.
  Not the value alone: a load under way holds the lease, and would store the old value for its whole lifetime; and the
  deletion of a key that does not exist is seen by nobody who waits.{" " + stale if stale else ""}"""


def _groups(groups: Sequence[Group], prefix: str) -> list[str]:
    if not groups:
        return []
    lines = [
        "- **A group** holds the keys that one change makes stale together. It is a sorted set whose members are these "
        "keys:"
    ]
    for group in groups:
        of = ", ".join(f"`{key_format(one)}`" for one in group.keyspaces)
        lines.append(f"  - `{derived_key(prefix, 'group', angled(group.pattern))}` of {of}")
    lines.append(
        "\n  To drop a group, after the commit: `ZRANGE <group> 0 -1`, then for each member `DEL <member> "
        f"{lease_key(prefix, '<member>')}\n  {absent_key(prefix, '<member>')}`, where the member has its prefix "
        "already. Leave the members in: a reader may have registered one again\n  meanwhile, and the next drop would "
        "not find it. This library takes out what is older than any value. Read the group\n  at its "
        "primary, and all of it after the commit."
    )
    return ["\n".join(lines)]


def _generation(keyspaces: Keyspaces, prefix: str) -> str:
    first = keyspaces.caches[0]
    generation = derived_key(prefix, "generation", prefix + first.pattern.text)
    return f"""- **A keyspace can be dropped whole**, by a number in
  `{generation}`. For its lifetime and a minute a value counts for this library
  only with that number in `{derived_key(prefix, "mark", key_format(first))}`, which it writes itself. Other services
  see such a drop when the keys are deleted (`room.delete_keyspace`); they need not know of the number."""


def _sessions(keyspaces: Keyspaces, prefix: str, more: str) -> list[str]:
    if keyspaces.sessions is None:
        return []
    session = key_format(keyspaces.sessions)
    life, touched = (derived_key(prefix, use, session) for use in ("life", "touched"))
    return [
        f"""- **Sessions**: `session_id` is the unpadded base64url of the SHA-256 of the token's ASCII characters.
  Change a session with `SET {session} <json> XX KEEPTTL` only; only this library begins sessions: one without
  its companion `{life}` is over. `{touched}` is there while its time of
  activity need not be renewed.{" " + more if more else ""}"""
    ]
