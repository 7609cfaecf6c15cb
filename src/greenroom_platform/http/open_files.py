"""How many files, connections among them, a process may have open."""

from __future__ import annotations

import logging

try:
    import resource
except ImportError:  # not a Unix
    resource = None  # type: ignore[assignment]

log = logging.getLogger("greenroom.http")

_ENOUGH = 10_240
"""What macOS gives where the hard limit is called infinite, and is not."""


def raise_open_files() -> int | None:
    """Raise the limit of open files to what this user may have; returns it, or None where there is none.

    The soft limit is often 1,024, for programs that use `select`: as many silent connections would keep others out.
    """
    if resource is None:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for enough in (hard, _ENOUGH):
        if soft == enough:
            return soft
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
        except (ValueError, OSError):
            continue
        return enough
    log.warning("the limit of open files stays at %d", soft)
    return soft
