"""Updates that the server refuses for what another program has written in the document: told as that document.

To try again does not help, so this is no `RecordUnavailable`. What an update of ours can meet there:

    a member that is counted up is text, null, an array … (`TypeMismatch`), or the greatest number there is (`BadValue`)
    the document has members of others, and with ours it is larger than a server takes

And one that no server refuses: a number so far from 0 that one more is the same. Who counts up such a `lock` has
written nothing, and two transactions that rely on it do not meet.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

from pymongo.errors import BulkWriteError, OperationFailure
from pymongo.results import UpdateResult

from greenroom.errors import BrokenDocument
from greenroom_platform.storage.mongodb.documents import LOCK

R = TypeVar("R")

_NO_NUMBER = re.compile(r"""\{_id: (?P<id>.*?)\} has the field '(?P<field>[^']*)' of non-numeric type (?P<type>\w+)""")
_TOO_GREAT = re.compile(r"""current value \((?:\(\w+\))?(?P<value>[^)]*)\) for document \{_id: (?P<id>.*?)\}""")
_MISMATCH = 14
_TOO_LARGE = {10334, 17419, 17420}
_FAR = 1 << 53
COUNTED = {"$not": {"$type": "array"}, "$gt": -_FAR, "$lt": _FAR}
"""A condition for members that can be counted up. An array has the type of each of its elements, too."""
ROOM_LEFT: Mapping[str, Any] = {"$expr": {"$lt": [{"$bsonSize": "$$ROOT"}, (16 << 20) - 2048]}}
"""A condition for documents that a server lets grow by some members."""
STUCK = {"$exists": True, "$not": {"$gt": -_FAR, "$lt": _FAR}}
"""A condition for numbers of which one more is the same; one that is missing is counted up from 0."""


async def fitting(kind: str, update: Awaitable[R], *ids: str) -> R:
    """What an update comes to.

    Arguments:
        kind: of the documents that it is of.
        ids: of these documents, for errors that name none.

    Raises:
        BrokenDocument: when the server cannot make it in what is stored.
        PyMongoError: as the driver.
    """
    try:
        return await update
    except BulkWriteError as error:
        each = [(one, _id_of(one)) for one in error.details.get("writeErrors", ())]
        broken = [found for one, id_ in each if (found := _unfit(kind, one, [id_])) is not None]
        if not broken:
            raise
        first, *others = broken
        raise BrokenDocument(kind, first.id, first.reason, others=others) from error
    except OperationFailure as error:
        found = _unfit(kind, {"code": error.code, "errmsg": str(error)}, ids)
        if found is None:
            raise
        raise found from error


def check_counted(kind: str, result: UpdateResult, *ids: str) -> None:
    """Return if an update has counted up the `lock` of each document that it found.

    Raises:
        BrokenDocument: otherwise.
    """
    if result.modified_count < result.matched_count:
        reason = f"its member {LOCK} is so far from 0 that one more is the same; bring it nearer, or remove it"
        raise BrokenDocument(kind, _shown(ids), reason)


def _unfit(kind: str, error: Mapping[str, Any], ids: Sequence[str]) -> BrokenDocument | None:
    message = str(error.get("errmsg", ""))
    if (found := _NO_NUMBER.search(message)) is not None:
        reason = f"its member {found['field']} is of the type {found['type']}; make it a number, or remove it"
        return BrokenDocument(kind, _named(found["id"], ids), reason)
    if (found := _TOO_GREAT.search(message)) is not None:
        reason = f"its member {LOCK} cannot be counted up from {found['value']}; make it smaller, or remove it"
        return BrokenDocument(kind, _named(found["id"], ids), reason)
    if error.get("code") in _TOO_LARGE:
        return BrokenDocument(kind, _shown(ids), "it is too large to be changed; remove members of other programs")
    if error.get("code") == _MISMATCH:  # in other words, as of another version of the server
        return BrokenDocument(kind, _shown(ids), message)
    return None


def _id_of(error: Mapping[str, Any]) -> str:
    """The id of the document that one update of several is of."""
    operation = error.get("op", {})
    return str(operation.get("q", operation).get("_id"))


def _named(told: str, ids: Sequence[str]) -> str:
    """The id as Python writes it; the server quotes text its own way."""
    (id_,) = ids if len(ids) == 1 else (told.strip("'\""),)
    return repr(id_)


def _shown(ids: Sequence[str]) -> str:
    return repr(ids[0]) if len(ids) == 1 else f"one of {', '.join(map(repr, ids))}"[:200]
