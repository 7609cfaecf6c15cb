"""Accounts for tests: real hashes with parameters that cost little."""

from __future__ import annotations

from typing import Literal

from argon2 import PasswordHasher

from greenroom_platform.models import User
from greenroom_platform.testing.records_changes import NOON

PASSWORD = "correct horse battery staple"


class Hasher(PasswordHasher):
    """Cheap, and remembers what was verified against."""

    def __init__(self, *, time_cost: int = 1) -> None:
        super().__init__(time_cost=time_cost, memory_cost=8, parallelism=1)
        self.verified: list[str | bytes] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        self.verified.append(hash)
        return super().verify(hash, password)


def user(user_id: str, username: str, password_hash: str = "hash") -> User:
    """A user with this name and hash."""
    return User(user_id=user_id, username=username, password_hash=password_hash, created_at=NOON)
