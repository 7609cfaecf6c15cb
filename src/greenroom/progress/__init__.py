"""How far something is: an order that only goes forward, and following it."""

from greenroom.progress.follow import Followers, Look, StatusSource
from greenroom.progress.order import Order

__all__ = ["Followers", "Look", "Order", "StatusSource"]
