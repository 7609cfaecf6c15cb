"""Documents of other programs on MongoDB, decoded one by one: what is no text of ours, and what is no date."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument

from greenroom.errors import BrokenDocument
from greenroom_platform.models import Topic
from greenroom_platform.storage.broken import BrokenDocuments
from greenroom_platform.storage.mongodb.documents import decoded, snippet_update
from greenroom_platform.testing.records_changes import NOON, snippet

MOMENT = "2026-01-02T12:00:00.123456Z"
TOPIC: dict[str, Any] = {
    "_id": "x",
    "topic_id": "x",
    "display_name": "Name",
    "description": "###",
    "keywords": [],
    "created_at": MOMENT,
    "updated_at": MOMENT,
}


@pytest.mark.parametrize(
    "raw",
    [
        bson.encode(TOPIC).replace(b"###", b"\xff\xfe\xfd"),
        bson.encode(TOPIC | {"created_at": bson.DatetimeMS(2**60)}),
        bson.encode(TOPIC | {"created_at": bson.DatetimeMS(-(2**60))}),
        bson.encode(TOPIC | {"description": bson.Regex("a")}),
        bson.encode(TOPIC | {"display_name": bson.ObjectId()}),
        bson.encode(TOPIC | {"keywords": {"0": "a"}}),
        bson.encode({"_id": "x"}),
        bson.encode({"_id": bson.MinKey()}),
    ],
)
def test_a_document_that_cannot_be_an_object_is_broken_and_nothing_else(raw: bytes) -> None:
    with pytest.raises(BrokenDocument, match="does not fit"):
        decoded(RawBSONDocument(raw), Topic)
    broken = BrokenDocuments()
    assert broken.fitting(decoded, RawBSONDocument(raw), Topic) is None
    assert broken.count == 1


def test_a_document_that_is_no_text_is_named_by_its_id_all_the_same() -> None:
    raw = bson.encode(TOPIC).replace(b"###", b"\xff\xfe\xfd")
    with pytest.raises(BrokenDocument, match="the topic 'x' does not fit"):
        decoded(RawBSONDocument(raw), Topic)


def test_dates_and_texts_are_the_same_moments() -> None:
    moment = datetime(2026, 1, 2, 12, 0, 0, 123_000, UTC)
    dates = TOPIC | {"created_at": moment, "updated_at": bson.DatetimeMS(moment)}
    found = decoded(RawBSONDocument(bson.encode(dates)), Topic)
    texts = TOPIC | dict.fromkeys(("created_at", "updated_at"), "2026-01-02T12:00:00.123Z")
    assert found == decoded(RawBSONDocument(bson.encode(texts)), Topic)
    assert found.created_at.tzinfo is UTC


def test_what_a_snippet_lacks_is_taken_from_its_document() -> None:
    whole = snippet_update(snippet("s", "a", NOON, image_url="/i.png"))
    assert whole["$unset"] == {"cover_art_prompt": ""}
    assert whole["$set"]["generation_timestamp"] == MOMENT
    assert whole["$set"]["generated"] == 1_767_355_200_123_456
    both = snippet_update(snippet("s", "a", NOON, image_url="/i.png", cover_art_prompt="c"))
    assert "$unset" not in both
