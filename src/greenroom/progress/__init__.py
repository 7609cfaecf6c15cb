"""How far something is: an order that only goes forward, and following it."""

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
