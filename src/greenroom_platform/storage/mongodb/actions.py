"""What operators have done, on MongoDB, with the pause of the queue and a look at the outbox."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from pymongo.errors import DuplicateKeyError

from greenroom_platform.domain.action_log import ACTIONS_KEPT, Action, OutboxState, QueuePause
from greenroom_platform.storage.mongodb.changes import ChangeNumbers
from greenroom_platform.storage.mongodb.database import MongoDatabase
from greenroom_platform.storage.mongodb.documents import LENIENT

T = TypeVar("T")

_PAUSE = {"_id": "queue_pause"}


class MongoActions:
    """`ActionLog` in the database of a `MongoRecords`."""

    def __init__(self, database: MongoDatabase, numbers: ChangeNumbers) -> None:
        self._database = database
        self._numbers = numbers
        self._actions = database.actions.with_options(LENIENT)
        self._meta = database.meta.with_options(LENIENT)

    async def begin(self, action: Action) -> int:
        number = self._numbers.next()
        document: Any = msgspec.to_builtins(action) | {"_id": number, "number": number}

        async def forget() -> None:
            beyond = self._actions.find({}, {"_id": 1}, sort=[("_id", -1)], skip=ACTIONS_KEPT, limit=1)
            if oldest := await beyond.to_list():
                await self._actions.delete_many({"_id": {"$lte": oldest[0]["_id"]}})

        await self._database.write_one(lambda: self._actions.insert_one(document))
        await self._database.tidy(forget)
        return number

    async def end(self, number: int, outcome: str) -> None:
        update = {"$set": {"outcome": outcome}}
        await self._database.write_one(lambda: self._actions.update_one({"_id": number}, update))

    async def newest(self, limit: int) -> tuple[Action, ...]:
        rows = await self._database.read(lambda: self._actions.find(sort=[("_id", -1)], limit=limit).to_list())
        return tuple(one for row in rows if (one := _decoded(row, Action)) is not None)

    async def pause(self) -> QueuePause | None:
        return _decoded(await self._database.read(lambda: self._meta.find_one(_PAUSE)), QueuePause)

    async def set_pause(self, pause: QueuePause | None) -> None:
        if pause is None:
            await self._database.write_one(lambda: self._meta.delete_one(_PAUSE))
            return
        document = _PAUSE | msgspec.to_builtins(pause)
        try:
            await self._database.write_one(lambda: self._meta.insert_one(document))
        except DuplicateKeyError:
            return  # it is paused already

    async def outbox(self) -> OutboxState:
        outbox = self._database.outbox.with_options(LENIENT)

        async def work() -> tuple[int, list[dict[str, Any]]]:
            oldest = outbox.find({"committed": {"$type": "number"}}, {"committed": 1}, sort=[("_id", 1)], limit=1)
            return await outbox.count_documents({}), await oldest.to_list()

        number, oldest = await self._database.read(work)
        return OutboxState(
            pending=number, oldest=datetime.fromtimestamp(oldest[0]["committed"], UTC) if oldest else None
        )


def _decoded(document: Mapping[str, Any] | None, type_: type[T]) -> T | None:
    """What another program has written there, and does not fit, is nothing."""
    try:
        return None if document is None else msgspec.convert(document, type_)
    except msgspec.ValidationError:
        return None
