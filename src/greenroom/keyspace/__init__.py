"""Keyspaces: pattern to key and back, JSON codec, lifetime, and the document that tells others about them."""

from greenroom.keyspace.keyspace import Keyspace
from greenroom.keyspace.pattern import Number, Pattern

__all__ = ["Keyspace", "Number", "Pattern"]
