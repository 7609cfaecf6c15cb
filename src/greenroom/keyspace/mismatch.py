"""The errors of a codec, before anybody has told which key they are about."""

from __future__ import annotations


class SchemaMismatch(ValueError):
    """JSON that does not fit the type, or a value that would be another when read back."""


class OtherVersion(SchemaMismatch):
    """JSON of another version of its keyspace: nothing is wrong with it, and it counts for nothing."""
