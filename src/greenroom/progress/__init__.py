"""How far something is: an order that only goes forward, and following it."""

from greenroom.progress.follow import Followers, Later, Look, StatusSource, set_timer
from greenroom.progress.order import Order

__all__ = ["Followers", "Later", "Look", "Order", "StatusSource", "set_timer"]
