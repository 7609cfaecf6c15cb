"""Read-through caching over a keyspace."""
# docs/decisions/0079-small-files-before-few.md

from greenroom.caching.cache import Cache
from greenroom.caching.changing import DropTarget
from greenroom.caching.loader import Loader
from greenroom.caching.result import CacheResult, Loaded, Outcome

__all__ = ["Cache", "CacheResult", "DropTarget", "Loaded", "Loader", "Outcome"]
