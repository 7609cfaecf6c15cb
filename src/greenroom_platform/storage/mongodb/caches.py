"""Which caches the changes of the record are sent to, on MongoDB."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from greenroom_platform.domain.known_caches import KnownCaches
from greenroom_platform.storage.mongodb.database import MongoDatabase, Session
from greenroom_platform.storage.mongodb.documents import LENIENT

_CACHES = {"_id": "caches"}


class MongoCaches:
    """`CachesRecords` in the database of a `MongoRecords`."""

    def __init__(self, database: MongoDatabase) -> None:
        self._database = database
        self._meta = database.meta.with_options(LENIENT)

    async def known(self) -> KnownCaches | None:
        return _decoded(await self._database.read(lambda: self._meta.find_one(_CACHES)))

    async def replace(self, expected: KnownCaches | None, new: KnownCaches) -> bool:
        # Two that replace it at once meet in the document: the second begins anew, and finds the first's.
        async def work(session: Session) -> bool:
            if _decoded(await self._meta.find_one(_CACHES, session=session)) != expected:
                return False
            document = _CACHES | msgspec.to_builtins(new)
            await self._database.meta.replace_one(_CACHES, document, upsert=True, session=session)
            return True

        return await self._database.transaction(work)


def _decoded(document: Mapping[str, Any] | None) -> KnownCaches | None:
    try:
        return None if document is None else msgspec.convert(document, KnownCaches)
    except msgspec.ValidationError:
        return None
