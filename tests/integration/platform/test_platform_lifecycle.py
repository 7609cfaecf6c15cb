"""A platform is opened and closed as its room is: by one caller at a time, and in its own event loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from greenroom import Greenroom
from greenroom.errors import InvalidInput, RoomClosed, RoomElsewhere, RoomNotOpen
from greenroom_platform.domain.sessions import SESSION_SETTINGS
from greenroom_platform.platform import Platform
from greenroom_platform.storage import open_records
from tests.support.real_servers import Server


def others() -> set[str]:
    mine = asyncio.current_task()
    return {task.get_name() for task in asyncio.all_tasks() if task is not mine and not task.done()}


async def test_a_platform_is_opened_once_at_a_time_and_in_one_loop(valkey: Server, tmp_path: Path) -> None:
    records = await open_records(tmp_path / "record.sqlite3")
    room = Greenroom(valkey.address, sessions=SESSION_SETTINGS)
    async with room:
        platform, before = Platform(room, records, data_dir=tmp_path), others()
        with pytest.raises(RoomNotOpen):
            _ = platform.topics
        results = await asyncio.gather(platform.__aenter__(), platform.__aenter__(), return_exceptions=True)
        assert [type(one) for one in results] == [Platform, InvalidInput]
        assert "platform: is being opened already" in str(results[1])
        accounts = platform.accounts
        with pytest.raises(RoomElsewhere, match="another event loop"):
            await asyncio.to_thread(asyncio.run, platform.__aexit__(None, None, None))
        assert await platform.topics.all() is not None
        await platform.__aexit__(None, None, None)
        with pytest.raises(RoomClosed):
            _ = platform.topics
        assert others() == before
    async with room, platform:
        assert platform.accounts is not accounts
        assert await platform.topics.all() is not None
    await records.close()
