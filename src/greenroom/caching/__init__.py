"""Read-through caching over a keyspace."""
# docs/decisions/0078-small-files-before-few.md

from greenroom.caching.cache import Cache
from greenroom.caching.changing import Stale
from greenroom.caching.function import CachedFunction
from greenroom.caching.loader import Loader
from greenroom.caching.result import CacheResult, Outcome

__all__ = ["Cache", "CacheResult", "CachedFunction", "Loader", "Outcome", "Stale"]
