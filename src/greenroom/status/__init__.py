"""How far something is: an order that only goes forward."""

from greenroom.status.order import Order

__all__ = ["Order"]
