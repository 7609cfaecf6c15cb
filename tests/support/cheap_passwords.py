"""`greenroom` with passwords that cost little to hash, for services whose tests sign many people in.

Each real hash takes a third of a second of both cores; `tests/integration/accounts` holds what they must cost.
"""

from __future__ import annotations

from functools import partial

from argon2 import PasswordHasher

from greenroom.accounts import passwords
from greenroom.cli import main

if __name__ == "__main__":
    setattr(passwords, "PasswordHasher", partial(PasswordHasher, time_cost=1, memory_cost=8, parallelism=1))  # noqa: B010
    main()
