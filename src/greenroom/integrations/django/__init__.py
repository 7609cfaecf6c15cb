"""Greenroom under Django: a cache backend, a session engine, cached functions, and drops when a transaction commits.

INSTALLED_APPS = [..., "greenroom.integrations.django"]
GREENROOM = {"URL": "valkey://cache.internal:6379"}
CACHES = {"default": {"BACKEND": "greenroom.integrations.django.Cache"}}
SESSION_ENGINE = "greenroom.integrations.django.sessions"
"""

from greenroom.extras import needs_extra

with needs_extra("django", "greenroom.integrations.django"):
    import django as _django  # noqa: F401

from greenroom.integrations.django.cache import GreenroomCache as Cache
from greenroom.integrations.django.functions import cached
from greenroom.integrations.django.invalidation import invalidates
from greenroom.integrations.django.outbox import send_left
from greenroom.integrations.django.rooms import room
from greenroom.integrations.django.users import aend_all, end_all

__all__ = ["Cache", "aend_all", "cached", "end_all", "invalidates", "room", "send_left"]
