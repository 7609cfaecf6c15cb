"""Without the password hasher a room has no accounts, and says which extra brings it."""

from __future__ import annotations

from tests.support.absent import run_without

PROGRAM = """
import asyncio
from greenroom_platform.platform import open_platform
from greenroom_platform.platform import open_platform
from greenroom.errors import MissingExtra

async def main():
    async with open_platform() as room:
        try:
            room.accounts
        except ImportError as error:
            print(isinstance(error, MissingExtra), error)

asyncio.run(main())
"""


def test_accounts_name_the_extra_only_where_it_is_missing() -> None:
    missing = run_without("argon2", PROGRAM)
    assert missing.stdout == "True hashing passwords needs the extra 'service': pip install 'greenroom[service]'\n"
    broken = run_without("_argon2_cffi_bindings", PROGRAM)
    assert broken.stdout == "False No module named '_argon2_cffi_bindings'\n"
