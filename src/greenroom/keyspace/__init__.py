"""Keyspaces: pattern to key and back, JSON codec, lifetime, and the document that tells others about them."""

from greenroom.keyspace.keyspace import Keyspace
from greenroom.keyspace.parts import Number, Text
from greenroom.keyspace.pattern import Pattern

__all__ = ["Keyspace", "Number", "Pattern", "Text"]
