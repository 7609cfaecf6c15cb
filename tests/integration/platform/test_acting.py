"""What operators do on a real record that goes away under way."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from greenroom.errors import Conflict, RecordUnavailable
from greenroom_platform.http.control.acting import act
from greenroom_platform.platform import Platform, open_platform
from greenroom_platform.storage import SqliteRecords
from tests.support.real_servers import Server


def state_of(platform: Platform) -> Any:
    return SimpleNamespace(platform=platform, control=SimpleNamespace(forget=lambda: None))


@pytest.mark.parametrize("fails", [False, True])
async def test_what_was_done_is_answered_though_its_outcome_is_not_logged(
    valkey: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, fails: bool
) -> None:
    records = await SqliteRecords.open(tmp_path / "record.sqlite3")

    async def work() -> str:
        await records.close()
        if fails:
            raise Conflict("it is claimed")
        return "dropped"

    async with open_platform(valkey.address, sessions=False, database=records) as platform:
        doing = act(state_of(platform), "ana", "drop_key", "topic a", "it was stale", work)
        if fails:
            with pytest.raises(Conflict):
                await doing
        else:
            assert (await doing).outcome == "dropped"
    said = "failed: it is claimed" if fails else "dropped"
    assert [one.endswith(f": {said}") for one in caplog.messages if "is not in the record" in one] == [True]


async def test_without_its_line_in_the_log_nothing_is_done(valkey: Server, tmp_path: Path) -> None:
    records = await SqliteRecords.open(tmp_path / "record.sqlite3")

    async def work() -> str:
        raise AssertionError("it is done")

    async with open_platform(valkey.address, sessions=False, database=records) as platform:
        await records.close()
        with pytest.raises(RecordUnavailable):
            await act(state_of(platform), "ana", "drop_key", "topic a", "it was stale", work)
