"""A process that is killed between the commit and the drop leaves nothing stale: its row is in the database."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.outbox_items import made, running
from tests.support.real_servers import Server
from tests.support.repository import ROOT

PROGRAM = """
import asyncio, os, signal, sys
from pathlib import Path

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from greenroom.integrations.sqlalchemy import SqlOutbox
from tests.support.outbox_items import PAGE, Item, running


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


async def main(address, directory):
    SqlOutbox.drop = SqlOutbox.drop_from_thread = die  # what follows the commit
    async with running(address, Path(directory)) as one:
        async with AsyncSession(one.engine) as session:
            async with one.outbox.transaction(session, one.item.of(1), one.page.group("o"), PAGE):
                await session.execute(update(Item).where(Item.number == 1).values(name="new"))


asyncio.run(main(*sys.argv[1:]))
"""


def killed(address: str, directory: Path) -> None:
    """Run the program until it kills itself."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, address, str(directory)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == -signal.SIGKILL, run.stderr


@pytest.mark.parametrize("opened", [True, False], ids=["another process runs", "another process starts later"])
async def test_what_a_killed_process_has_committed_is_dropped_by_another(
    opened: bool, valkey: Server, tmp_path: Path
) -> None:
    made(tmp_path)
    every = timedelta(milliseconds=20)
    async with running(valkey.address, tmp_path, every=every) as one:
        assert [await one.item.get(1), await one.page.get("o", 1)] == ["old", [1]]
        if opened:
            await asyncio.to_thread(killed, valkey.address, tmp_path)
            async with asyncio.timeout(30):
                while await one.item.get(1) != "new" or await one.page.get("o", 1):
                    await asyncio.sleep(0.005)
    if not opened:
        killed(valkey.address, tmp_path)
        async with running(valkey.address, tmp_path) as other:
            assert [await other.item.get(1), await other.page.get("o", 1)] == ["new", []]
