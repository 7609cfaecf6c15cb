"""`Declarations`: all that a program keeps in its servers; access rules and documents are derived from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from greenroom.deployment import Deploy, Setting, named_servers
from greenroom.engine import Script
from greenroom.keyspace.registry import Keyspaces
from greenroom.rate_limit import ATTEMPT, COUNTED


def _document(keyspaces: Keyspaces) -> str:
    from greenroom.keyspace.other_writers import document  # access rules need none

    return document(keyspaces)


@dataclass(frozen=True, slots=True)
class Declarations:
    """What a program declares of itself: from it come its access rules and its documentation.

    Arguments:
        keyspaces: of its caches, stores and sessions, with the groups of its caches.
        beside_sessions: companion keys on the server of the sessions besides the library's own, as use and tag.
        scripts: scripts on the server of the sessions besides the library's own.
        commands: commands there, likewise, in lower case.
        beside_caches: companion keys on the server of the caches besides the library's own, as use and tag.
        cache_scripts: scripts on the server of the caches besides the library's own.
        prefix: what stands before every key, given the command's flag, which wins over the program's own settings.
        markdown: the document of the keyspaces, given them with their prefix.
        flags: the command line's flags behind arguments, by the arguments' names: errors name the flag.
        settings: the flags that `greenroom doctor` and its kin take of this program besides those of the servers.
        deployment: where its servers and its record are, given those flags.
    """

    keyspaces: Keyspaces
    beside_sessions: tuple[tuple[str, str], ...] = ()
    scripts: tuple[Script, ...] = ()
    commands: frozenset[str] = frozenset()
    beside_caches: tuple[tuple[str, str], ...] = ()
    cache_scripts: tuple[Script, ...] = ()
    prefix: Callable[[str | None], str] = lambda flag: flag or ""
    markdown: Callable[[Keyspaces], str] = _document
    flags: Mapping[str, str] = field(default_factory=dict)
    settings: tuple[Setting, ...] = ()
    deployment: Deploy = named_servers


def of_room(
    keyspaces: Keyspaces, *, content: str | None, limits: bool, prefix: str, deployment: Deploy
) -> Declarations:
    """What is declared in a room.

    Arguments:
        content: what the streams of its sessions are of, where it keeps any.
        limits: whether it has rate limits; they count on the server of the sessions, where it keeps any.
        prefix: the room's; a command's flag wins over it.
        deployment: see `Declarations`.
    """
    streams = () if content is None else (("active", f"{content}s"), ("listeners", f"{content}:*"))
    beside, scripts = ((COUNTED,), (ATTEMPT,)) if limits else ((), ())
    on_sessions = content is not None
    return Declarations(
        keyspaces,
        beside_sessions=(*streams, *(beside if on_sessions else ())),
        scripts=scripts if on_sessions else (),
        beside_caches=() if on_sessions else beside,
        cache_scripts=() if on_sessions else scripts,
        prefix=lambda flag: prefix if flag is None else flag,
        deployment=deployment,
    )
