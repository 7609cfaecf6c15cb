"""When an edit has been dropped from the caches, told to whoever asks for it: `Prefer: drop-receipt` (RFC 7240)."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import msgspec
from litestar import Request

from greenroom_platform.domain.drop_receipt import DropReceipt
from greenroom_platform.models import Timestamp
from greenroom_platform.platform import Platform

PREFERENCE = "drop-receipt"
HEADER = "Drop-Receipt"
NAMED = 12
"""Keys that are named; a change may have made thousands stale, and a header has its bounds."""


class ToldReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became stale with a change, and when it was dropped.

    Arguments:
        change_id: for `GET /api/v1/changes/{change}`; as text, since scripts' numbers have 53 bits.
        topics: how many topics became stale; with one, the list of all topics does too.
        pages: how many pages of topics, the one after the last included.
        named: the first of the keys, by their names on the server of the caches.
        dropped_at: when that server had acknowledged every drop; null while the change is in the outbox.
        milliseconds: from the commit until then.
        near_within_seconds: after which no other process serves an old value from its own memory, from `dropped_at` on.
    """

    change_id: str
    committed_at: Timestamp
    dropped_at: Timestamp | None
    milliseconds: float | None
    topics: int
    lists: int
    snippets: int
    pages: int
    named: tuple[str, ...]
    near_within_seconds: float


class Receipts:
    """Takes the receipt of a request's change, and makes headers of it where the request prefers that."""

    def __init__(self, request: Request[Any, Any, Any]) -> None:
        preferred = ",".join(request.headers.getall("prefer", []))
        self._wanted = PREFERENCE in (one.partition(";")[0].strip().lower() for one in preferred.split(","))
        self._platform: Platform = request.app.state.platform
        self._receipt: DropReceipt | None = None

    def take(self, receipt: DropReceipt) -> None:
        """Take the receipt; for `on_receipt`."""
        self._receipt = receipt

    def headers(self) -> dict[str, str]:
        """The headers for the answer."""
        if not self._wanted or self._receipt is None:
            return {}
        told = msgspec.to_builtins(self._told(self._receipt))
        # A header has ASCII alone: what else may be in a name of a key is escaped.
        return {"Preference-Applied": PREFERENCE, HEADER: json.dumps(told, separators=(",", ":"))}

    def _told(self, receipt: DropReceipt) -> ToldReceipt:
        change = receipt.change
        return ToldReceipt(
            change_id=str(change.change_id),
            committed_at=receipt.committed_at,
            dropped_at=receipt.dropped_at,
            milliseconds=None if receipt.seconds is None else round(receipt.seconds * 1000, 1),
            topics=len(change.topics),
            lists=int(bool(change.topics)),
            snippets=len(change.snippets),
            pages=sum(last for _, last in change.pages),
            named=tuple(islice(self._platform.changes.keys(change), NAMED)),
            near_within_seconds=self._platform.room.engine.limits.max_staleness,
        )
