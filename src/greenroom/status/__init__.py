"""How far something is: an order that only goes forward, and following it."""

from greenroom.status.follow import Followers, Look, Source
from greenroom.status.order import Order

__all__ = ["Followers", "Look", "Order", "Source"]
