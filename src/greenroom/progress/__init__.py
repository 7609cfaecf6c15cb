"""How far something is: an order that only goes forward, and following it."""

from typing import TYPE_CHECKING

from greenroom.late_imports import names_of

if TYPE_CHECKING:
    from greenroom.progress.events import ProgressEvents
    from greenroom.progress.follow import Followers, Later, Look, StatusSource, set_timer
    from greenroom.progress.following import Following
    from greenroom.progress.jobs import WITHOUT_SERVER, Jobs
    from greenroom.progress.order import Order

__all__ = [
    "WITHOUT_SERVER",
    "Followers",
    "Following",
    "Jobs",
    "Later",
    "Look",
    "Order",
    "ProgressEvents",
    "StatusSource",
    "set_timer",
]

# Who needs the order alone does without caches.
if not TYPE_CHECKING:  # a type checker would take any name for one that is here
    __getattr__ = names_of(
        __name__,
        {
            "Followers": "greenroom.progress.follow",
            "Following": "greenroom.progress.following",
            "Jobs": "greenroom.progress.jobs",
            "Later": "greenroom.progress.follow",
            "Look": "greenroom.progress.follow",
            "Order": "greenroom.progress.order",
            "ProgressEvents": "greenroom.progress.events",
            "StatusSource": "greenroom.progress.follow",
            "WITHOUT_SERVER": "greenroom.progress.jobs",
            "set_timer": "greenroom.progress.follow",
        },
    )
