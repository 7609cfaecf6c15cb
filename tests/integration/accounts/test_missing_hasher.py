"""Without the password hasher a room has no accounts, and says which extra brings it."""

from __future__ import annotations

import pytest

from tests.support.absent import run_without

PROGRAM = """
import asyncio
from greenroom_platform.platform import open_platform
from greenroom_platform.platform import open_platform
from greenroom.errors import MissingExtra

async def main():
    async with open_platform() as room:
        try:
            {use}
        except ImportError as error:
            print(isinstance(error, MissingExtra), error)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("use", "purpose"), [("room.accounts", "hashing passwords"), ("room.rate('asked', None)", "bounding rates")]
)
def test_accounts_name_the_extra_only_where_it_is_missing(use: str, purpose: str) -> None:
    missing = run_without("argon2", PROGRAM.format(use=use))
    assert missing.stdout == f"True {purpose} needs the extra 'service': pip install 'greenroom[service]'\n"
    broken = run_without("_argon2_cffi_bindings", PROGRAM.format(use=use))
    assert broken.stdout == "False No module named '_argon2_cffi_bindings'\n"
