"""What became of a change: when it was committed, and when what it made stale was dropped from the caches."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from greenroom_platform.domain.records import Change


class DropReceipt(msgspec.Struct, frozen=True):
    """The fate of one change, as far as the process that has made it knows.

    Arguments:
        change: what became stale.
        committed_at: when the record had told that the change is stored.
        seconds: from then until the server of the caches had acknowledged every drop; None where it has not yet: the
            change is in the outbox, and any process sends it.
    """

    change: Change
    committed_at: datetime
    seconds: float | None

    @property
    def dropped_at(self) -> datetime | None:
        """When every drop was acknowledged."""
        return None if self.seconds is None else self.committed_at + timedelta(seconds=self.seconds)


OnReceipt = Callable[[DropReceipt], None]
"""Is told the receipt of a change, before whoever makes the change is answered."""
