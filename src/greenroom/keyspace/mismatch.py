"""The error of a codec, before anybody has told which key it is about."""

from __future__ import annotations


class SchemaMismatch(ValueError):
    """JSON that does not fit the type, or a value that would be another when read back."""
