"""The caches of frameworks beside ours, in turns, each in a process: redis-py, Django, Flask-Caching and dogpile.cache.

`python -m bench frameworks` prints the table; `python -m bench.frameworks NAME PORT` is one process of it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from importlib import import_module
from threading import Thread
from typing import Any, NamedTuple

import msgspec

from bench.common import BODY

KEYS = 300
MANY = 1_000
"""Keys of one call for several."""
ROUNDS = 3
TURNS = 3
THREADS = 16
LIFETIME = 3_600
VALUE: dict[str, Any] = msgspec.json.decode(BODY)


class Row(msgspec.Struct):
    """CPU time of this process per operation, in microseconds; of many keys at once in milliseconds."""

    again: float
    """A read of a value that was read lately."""
    again_16: float
    """The same in 16 threads."""
    first: float
    """A read of one that was not."""
    set: float
    get_many: float
    set_many: float
    delete_many: float
    session: float | None
    """A request's session: read, one member changed, saved."""


class Calls(NamedTuple):
    """What a contender can do."""

    get: Callable[[str], object]
    set: Callable[[str, Any], object]
    get_many: Callable[[list[str]], object]
    set_many: Callable[[Mapping[str, Any]], object]
    delete_many: Callable[[list[str]], object]
    request: Callable[[], object] | None = None


def redis_py(port: int) -> Calls:
    """redis-py's blocking client, and the JSON of the standard library."""
    from redis import Redis

    client = Redis(port=port)

    def decoded(body: Any) -> Any:
        return None if body is None else json.loads(body)

    def set_many(values: Mapping[str, Any]) -> None:
        with client.pipeline(transaction=False) as pipe:
            for key, value in values.items():
                pipe.set(key, json.dumps(value), ex=LIFETIME)
            pipe.execute()

    def get_many(keys: list[str]) -> list[Any]:
        found: Any = client.mget(keys)
        return [decoded(body) for body in found]

    return Calls(
        get=lambda key: decoded(client.get(key)),
        set=lambda key, value: client.set(key, json.dumps(value), ex=LIFETIME),
        get_many=get_many,
        set_many=set_many,
        delete_many=lambda keys: client.delete(*keys),
    )


def greenroom_store(port: int) -> Calls:
    """A store of `greenroom.sync`."""
    from greenroom import Keyspace
    from greenroom.sync import Greenroom

    room = Greenroom(f"valkey://127.0.0.1:{port}", sessions=False)
    keyspace: Keyspace[Any] = Keyspace("bench:{key}", Any, ttl=timedelta(seconds=LIFETIME), limit=10_000)
    store = room.store(keyspace)
    return Calls(
        get=store.get,
        set=lambda key, value: store.set(value, key=key),
        get_many=store.get_many,
        set_many=store.set_many,
        delete_many=store.delete_many,
    )


def _django(port: int, cache: dict[str, Any], engine: str) -> Calls:
    import django
    from django.conf import settings

    settings.configure(
        CACHES={"default": cache},
        SESSION_ENGINE=engine,
        SECRET_KEY="of a benchmark",
        GREENROOM={"URL": f"valkey://127.0.0.1:{port}"},
    )
    django.setup()
    from django.core.cache import cache as configured

    module = import_module(engine)
    session = module.SessionStore()
    session["visits"] = 0
    session.save()

    def request() -> None:
        one = module.SessionStore(session.session_key)
        one["visits"] = one.get("visits") + 1
        one.save()

    return Calls(
        get=configured.get,
        set=lambda key, value: configured.set(key, value, LIFETIME),
        get_many=configured.get_many,
        set_many=lambda values: configured.set_many(dict(values), LIFETIME),
        delete_many=configured.delete_many,
        request=request,
    )


def django_greenroom(port: int) -> Calls:
    """Django's cache and sessions on Greenroom."""
    backend = "greenroom.integrations.django"
    return _django(port, {"BACKEND": f"{backend}.Cache"}, f"{backend}.sessions")


def django_redis(port: int) -> Calls:
    """Django's cache by django-redis, and sessions in it."""
    cache = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"redis://127.0.0.1:{port}/0"}
    return _django(port, cache, "django.contrib.sessions.backends.cache")


def django_own(port: int) -> Calls:
    """Django's own Redis backend, and sessions in it."""
    cache = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": f"redis://127.0.0.1:{port}/0"}
    return _django(port, cache, "django.contrib.sessions.backends.cache")


def flask_caching(port: int) -> Calls:
    """Flask-Caching on Redis."""
    from flask import Flask
    from flask_caching import Cache

    app = Flask("bench")
    cache = Cache(app, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_PORT": port, "CACHE_REDIS_HOST": "127.0.0.1"})
    with app.app_context():
        backend = cache.cache  # what `cache.get` asks, without Flask's look for the application
    return Calls(
        get=backend.get,
        set=lambda key, value: backend.set(key, value, LIFETIME),
        get_many=lambda keys: backend.get_many(*keys),
        set_many=lambda values: backend.set_many(dict(values), LIFETIME),
        delete_many=lambda keys: backend.delete_many(*keys),
    )


def _dogpile(backend: str, arguments: dict[str, Any]) -> Calls:
    from dogpile.cache import make_region

    region = make_region().configure(backend, arguments=arguments)
    return Calls(
        get=region.get,
        set=region.set,
        get_many=region.get_multi,
        set_many=lambda values: region.set_multi(dict(values)),
        delete_many=region.delete_multi,
    )


def dogpile_greenroom(port: int) -> Calls:
    """A region of dogpile.cache on Greenroom."""
    import_module("greenroom.integrations.dogpile")  # registers the backend
    from greenroom.sync import Greenroom

    return _dogpile("greenroom", {"room": Greenroom(f"valkey://127.0.0.1:{port}", sessions=False), "ttl": LIFETIME})


def dogpile_redis(port: int) -> Calls:
    """A region of dogpile.cache on Redis."""
    return _dogpile("dogpile.cache.redis", {"host": "127.0.0.1", "port": port, "redis_expiration_time": LIFETIME})


CONTENDERS: dict[str, Callable[[int], Calls]] = {
    "greenroom.sync": greenroom_store,
    "redis-py": redis_py,
    "Flask-Caching": flask_caching,
    "Django: greenroom": django_greenroom,
    "Django: django-redis": django_redis,
    "Django: its own": django_own,
    "dogpile: greenroom": dogpile_greenroom,
    "dogpile: redis": dogpile_redis,
}
HEAD = (
    "CPU",
    "read again, µs",
    f"in {THREADS} threads",
    "first read",
    "`set`",
    f"`get_many` of {MANY:,}, ms",
    "`set_many`",
    "`delete_many`",
    "a request's session, µs",
)


def cost(call: Callable[[int], object], number: int, *, threads: int = 1) -> float:
    """Microseconds of CPU per call, the median of some rounds."""
    took = []

    def run() -> None:
        for one in range(number):
            call(one)

    for _ in range(ROUNDS):
        crew = [Thread(target=run) for _ in range(threads)]
        begun = time.process_time()
        for one in crew:
            one.start()
        for one in crew:
            one.join()
        took.append((time.process_time() - begun) / number / threads * 1e6)
    return statistics.median(took)


def measured(calls: Calls) -> Row:
    """All operations of one contender."""
    written, unread = iter(range(10**9)), iter(range(10**9))
    for number in range(KEYS):
        calls.set(f"k{number}", VALUE)
    for number in range(KEYS):
        assert calls.get(f"k{number}") == VALUE
    fresh = cost(lambda _: calls.set(f"n{next(written)}", VALUE), KEYS)
    many: dict[str, list[float]] = {"get_many": [], "set_many": [], "delete_many": []}
    names = [f"m{number}" for number in range(MANY)]
    values = dict.fromkeys(names, VALUE)
    for _ in range(ROUNDS + 1):
        for name, call in (
            ("set_many", lambda: calls.set_many(values)),
            ("get_many", lambda: calls.get_many(names)),
            ("delete_many", lambda: calls.delete_many(names)),
        ):
            begun = time.process_time()
            call()  # type: ignore[no-untyped-call]
            many[name].append((time.process_time() - begun) * 1e3)
    request = calls.request
    return Row(
        set=fresh,
        first=cost(lambda _: calls.get(f"n{next(unread)}"), KEYS),
        again=cost(lambda one: calls.get(f"k{one % KEYS}"), 5 * KEYS),
        again_16=cost(lambda one: calls.get(f"k{one % KEYS}"), KEYS, threads=THREADS),
        session=None if request is None else cost(lambda _: request(), KEYS),
        **{name: statistics.median(rounds[1:]) for name, rounds in many.items()},
    )


def rows(port: int) -> Iterable[list[str]]:
    """A row of the table for each contender: the median of some processes."""
    found: dict[str, list[Row]] = {name: [] for name in CONTENDERS}
    for _ in range(TURNS):
        for name, turns in found.items():
            run = subprocess.run(
                [sys.executable, "-m", "bench.frameworks", name, str(port)], capture_output=True, check=True
            )
            turns.append(msgspec.json.decode(run.stdout, type=Row))
    for name, turns in found.items():
        row = [name]
        for member in ("again", "again_16", "first", "set", "get_many", "set_many", "delete_many", "session"):
            figures = [getattr(turn, member) for turn in turns]
            row.append("" if figures[0] is None else f"{statistics.median(figures):.1f}")
        yield row


if __name__ == "__main__":
    found = measured(CONTENDERS[sys.argv[1]](int(sys.argv[2])))
    sys.stdout.write(msgspec.json.encode(found).decode())
