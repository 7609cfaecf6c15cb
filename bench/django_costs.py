"""Django's cache and sessions: Greenroom's backend beside django-redis and Django's own, in turns, each in a process.

`python -m bench.django_costs` prints the table; `python -m bench.django_costs NAME PORT` is one process of it.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from threading import Thread
from typing import Any

import msgspec

from bench.common import BODY, server

KEYS = 300
ROUNDS = 3
TURNS = 3
THREADS = 16
OURS = "greenroom.integrations.django"
CONTENDERS = {
    "greenroom": (f"{OURS}.Cache", f"{OURS}.sessions"),
    "django-redis": ("django_redis.cache.RedisCache", "django.contrib.sessions.backends.cache"),
    "Django's own": ("django.core.cache.backends.redis.RedisCache", "django.contrib.sessions.backends.cache"),
}


class Row(msgspec.Struct):
    """CPU time of this process per operation, in microseconds."""

    again: float
    """A `get` of a value that was read lately."""
    first: float
    """A `get` of one that was not."""
    set: float
    again_16: float
    """As `again`, in 16 threads."""
    session: float
    """A request's session: read, one member changed, saved."""


def setup(name: str, port: int) -> None:
    """Configure Django for one contender."""
    import django
    from django.conf import settings

    backend, engine = CONTENDERS[name]
    cache: dict[str, Any] = {"BACKEND": backend, "LOCATION": f"redis://127.0.0.1:{port}/0"}
    options: dict[str, Any] = {}
    if name == "greenroom":
        cache = {"BACKEND": backend}
        options["GREENROOM"] = {"URL": f"valkey://127.0.0.1:{port}"}
    settings.configure(CACHES={"default": cache}, SESSION_ENGINE=engine, SECRET_KEY="of a benchmark", **options)
    django.setup()


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


def measured(name: str, port: int) -> Row:
    """All operations of one contender."""
    setup(name, port)
    from importlib import import_module

    from django.conf import settings
    from django.core.cache import cache

    engine = import_module(settings.SESSION_ENGINE)
    value = msgspec.json.decode(BODY)
    numbers = iter(range(10**9))
    for number in range(KEYS):
        cache.set(f"k{number}", value, 3600)
    for number in range(KEYS):
        cache.get(f"k{number}")
    session = engine.SessionStore()
    session["visits"] = 0
    session.save()

    def request(_: int) -> None:
        one = engine.SessionStore(session.session_key)
        one["visits"] = one.get("visits") + 1
        one.save()

    fresh = cost(lambda _: cache.set(f"n{next(numbers)}", value, 3600), KEYS)
    unread = iter(range(10**9))
    return Row(
        set=fresh,
        first=cost(lambda _: cache.get(f"n{next(unread)}"), KEYS),
        again=cost(lambda one: cache.get(f"k{one % KEYS}"), 5 * KEYS),
        again_16=cost(lambda one: cache.get(f"k{one % KEYS}"), KEYS, threads=THREADS),
        session=cost(request, KEYS),
    )


def main() -> None:
    """Measure all, and print the table."""
    rows: dict[str, list[Row]] = {name: [] for name in CONTENDERS}
    with server() as one:
        for _ in range(TURNS):
            for name, found in rows.items():
                command = [sys.executable, "-m", "bench.django_costs", name, str(one.port)]
                run = subprocess.run(command, stdout=subprocess.PIPE, check=True)
                found.append(msgspec.json.decode(run.stdout, type=Row))
    print("| µs of CPU | `get`, again | `get`, first | `set` | `get`, again, 16 threads | a request's session |")
    print("|---|---|---|---|---|---|")
    for name, found in rows.items():
        members = ("again", "first", "set", "again_16", "session")
        figures = [statistics.median(getattr(row, member) for row in found) for member in members]
        print(f"| {name} | {' | '.join(f'{figure:.1f}' for figure in figures)} |")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        sys.stdout.write(msgspec.json.encode(measured(sys.argv[1], int(sys.argv[2]))).decode())
    else:
        main()
