"""How far the generation of a podcast is: polled through the cache, or followed."""

from __future__ import annotations

from greenroom.caching import Cache
from greenroom.progress import Jobs, Later, set_timer
from greenroom_platform.models import STATUSES, PodcastStatus


class Statuses(Jobs[PodcastStatus]):
    """The statuses of the platform's podcasts; reads raise as `Cache.get`.

    Arguments:
        cache: of `PODCAST_STATUS`.
        later: what sets the timers of `Followers`.
    """

    def __init__(self, cache: Cache[PodcastStatus], *, later: Later = set_timer) -> None:
        super().__init__(cache, STATUSES, later=later)
