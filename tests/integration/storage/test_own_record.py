"""The example of a record of one's own keeps the contract, by itself and under a platform."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from greenroom.errors import RecordUnavailable
from greenroom_platform.domain.records import Records
from greenroom_platform.platform import open_platform
from greenroom_platform.testing import RecordsContract
from greenroom_platform.testing.records_changes import about
from greenroom_platform.testing.records_elsewhere import Cuts
from tests.support.repository import ROOT

_SPEC = importlib.util.spec_from_file_location("own_record", ROOT / "examples" / "own_record.py")
assert _SPEC is not None
assert _SPEC.loader is not None
own_record: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(own_record)


class TestOwnRecord(RecordsContract):
    @pytest.fixture
    def records(self) -> Records:
        found: Records = own_record.MemoryRecords(own_record.Memory())
        return found

    @pytest.fixture
    def another(self, records: Any) -> Records:
        found: Records = own_record.MemoryRecords(records._memory)
        return found

    @pytest.fixture
    def cuts(self, monkeypatch: pytest.MonkeyPatch) -> Cuts:
        steps = ("put_topic", "put_snippet", "page_end", "change", "commit")

        @contextmanager
        def cut(step: int) -> Iterator[SimpleNamespace]:
            under_way, left = SimpleNamespace(reached=False), [step]

            def failing(whole: Any) -> Any:
                def counted(*arguments: Any, **named: Any) -> Any:
                    left[0] -= 1
                    if left[0] < 0:
                        under_way.reached = True
                        raise RecordUnavailable("cut off")
                    return whole(*arguments, **named)

                return counted

            with monkeypatch.context() as patch:
                for name in steps:
                    patch.setattr(own_record._Transaction, name, failing(getattr(own_record._Transaction, name)))
                yield under_way

        return [cut]


async def test_a_platform_stands_on_it() -> None:
    records = own_record.MemoryRecords(own_record.Memory())
    async with open_platform(database=records) as platform:
        written = await platform.topics.put("a", about("A"))
        assert await platform.topics.get("a") == written.value
        assert await records.pending() == ()
