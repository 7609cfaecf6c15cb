"""What happens to podcasts: their statuses are keys like others, whose versions are the ranks; besides, who follows."""

from __future__ import annotations

from torture.history import Event


class Followed(Event, frozen=True):
    """Somebody followed a podcast's status.

    Arguments:
        key: the key of its status.
        seen: (moment, version) of each that was told.
        error: the type of the exception that ended it; empty for none.
    """

    key: str
    seen: list[tuple[float, int]]
    error: str = ""
