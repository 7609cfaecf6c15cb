"""What a server says of an update that it refuses for what is stored, as an error that names the document."""

from __future__ import annotations

import pytest
from pymongo.errors import OperationFailure

from greenroom.errors import BrokenDocument
from greenroom_platform.storage.mongodb.unfit import fitting


async def refused(code: int, message: str) -> None:
    raise OperationFailure(message, code)


@pytest.mark.parametrize(
    ("code", "message", "told"),
    [
        (14, "{_id: \"b\"} has the field 'lock' of non-numeric type null", "topic 'b' .* lock is of the type null;"),
        (14, "in words of another version", r"topic one of 'a', 'b' does not fit its type: in words"),
        (17419, "Resulting document after update is larger than 16777216", "topic one of 'a', 'b' .* too large"),
    ],
)
async def test_a_refused_update_names_the_document_as_far_as_it_is_known(code: int, message: str, told: str) -> None:
    with pytest.raises(BrokenDocument, match=told):
        await fitting("topic", refused(code, message), "a", "b")


@pytest.mark.parametrize("code", [2, 112, 11600])
async def test_what_says_nothing_of_a_document_stays_the_drivers_error(code: int) -> None:
    with pytest.raises(OperationFailure, match="shutdown"):
        await fitting("topic", refused(code, "shutdown in progress"), "a")
