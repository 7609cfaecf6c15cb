"""The sixth part of the record's contract: which caches its changes are sent to."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from greenroom_platform.domain.known_caches import CachesRecords, KnownCaches, KnowsCaches
from greenroom_platform.domain.records import Records

FIRST = KnownCaches(identity="one", address="valkey://one:6379")


def _caches(records: Records) -> CachesRecords:
    if not isinstance(records, KnowsCaches):
        pytest.skip("the record does not say which caches its changes are sent to")
    return records.caches


class CachesContract:
    """Part of `RecordsContract`; skipped for a record that has no member `caches`."""

    async def test_the_caches_of_a_record_are_replaced_only_as_expected(self, records: Records) -> None:
        caches, second = _caches(records), msgspec.structs.replace(FIRST, asked=1)
        assert await caches.known() is None
        assert not await caches.replace(FIRST, second)
        assert await caches.replace(None, FIRST)
        assert not await caches.replace(None, second)
        assert await caches.known() == FIRST
        assert await caches.replace(FIRST, second)
        assert not await caches.replace(FIRST, FIRST)
        assert await caches.known() == second
        assert await records.is_empty()
        assert await records.pending() == ()

    async def test_of_two_that_take_the_place_of_the_caches_one_does(self, records: Records) -> None:
        caches = _caches(records)
        for expected in (None, FIRST):
            new = [KnownCaches(identity=f"{expected} {number}", address="") for number in range(4)]
            taken = await asyncio.gather(*(caches.replace(expected, one) for one in new))
            assert sorted(taken) == [False, False, False, True]
            assert await caches.known() == new[taken.index(True)]
            assert await caches.replace(new[taken.index(True)], FIRST)
