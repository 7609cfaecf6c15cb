"""What must hold of a stored object for a write to take place: RFC 9110, section 13.1, compared in the write itself.

Prevents the lost update: two editors read a topic · the first writes it · the second writes what it made of the old
one, and the first one's change is gone. Compared before the transaction, the second could still come in between.
"""

from __future__ import annotations

import msgspec

from greenroom.caching.result import digest
from greenroom.errors import PreconditionFailed


class Versions(msgspec.Struct, frozen=True):
    """Versions of an object that a condition names.

    Arguments:
        tags: the names of versions, as `version_of` gives them.
        any: whether every version is meant.
    """

    tags: frozenset[str] = frozenset()
    any: bool = False

    def include(self, version: str | None) -> bool:
        """Whether a version is among them; None, the version of what does not exist, never is."""
        return version is not None and (self.any or version in self.tags)


class Precondition(msgspec.Struct, frozen=True):
    """The condition of a write.

    Arguments:
        match: the versions on which the write may be made; None where it may be made on any and on nothing.
        none_match: the versions on which it may not be made.
    """

    match: Versions | None = None
    none_match: Versions | None = None

    def check(self, stored: msgspec.Struct | None) -> None:
        """Return if the write may be made on what is stored; None where nothing is.

        Raises:
            PreconditionFailed: otherwise.
        """
        if self.match is not None or self.none_match is not None:  # else the version is not worth its hash
            self.check_version(None if stored is None else version_of(stored))

    def check_version(self, version: str | None) -> None:
        """As `check`, where the version is known; None where nothing is stored."""
        if self.match is not None and not self.match.include(version):
            reason = "nothing is stored here" if version is None else "the stored version is another one"
            raise PreconditionFailed(f"If-Match: {reason}; read it again, and change what you then have")
        if self.none_match is not None and self.none_match.include(version):
            raise PreconditionFailed("If-None-Match: it is stored here already; read it, and change what you then have")


ALWAYS = Precondition()
"""Holds whatever is stored."""


def version_of(stored: msgspec.Struct) -> str:
    """The name of an object's version: the entity tag of its cached JSON, without the quotes."""
    return digest(msgspec.json.encode(stored))
