"""The timestamp that the server writes, against Python's for many dates: scripts there know no calendar."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from greenroom.engine import Script
from tests.support.real_servers import Server

_DATES = (
    Script.named("timestamp").source
    + """
local found = {}
for at = 1, #ARGV, 2 do
  found[#found + 1] = timestamp({ARGV[at], ARGV[at + 1]})
end
return found
"""
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAYS = (datetime(2200, 1, 1, tzinfo=UTC) - EPOCH).days


def written(server: Server, moments: list[datetime]) -> list[str]:
    raw, found = server.raw(), list[str]()
    for at in range(0, len(moments), 1000):
        args = []
        for moment in moments[at : at + 1000]:
            since = moment - EPOCH
            args += [since.days * 86400 + since.seconds, since.microseconds]
        found += [text.decode() for text in raw("EVAL", _DATES, 0, *args)]
    return found


def expected(moments: list[datetime]) -> list[str]:
    return [moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ") for moment in moments]


def test_every_day_from_1970_to_2199(server: Server) -> None:
    days = [EPOCH + timedelta(days=day) for day in range(DAYS)]
    assert written(server, days) == expected(days)
    last = [day + timedelta(days=1, microseconds=-1) for day in days]
    assert written(server, last) == expected(last)


def test_leap_days_and_the_turns_of_centuries(server: Server) -> None:
    moments = [
        datetime(year, month, day, 23, 59, 59, 999_999, UTC) + timedelta(microseconds=step)
        for year in (1972, 1999, 2000, 2024, 2026, 2096, 2099, 2100, 2104, 2199)
        for month, day in ((2, 28), (3, 1), (12, 31))
        for step in (0, 1, 86_400_000_000)
    ]
    assert "2100-03-01T00:00:00.000000Z" in expected(moments), "no leap year"
    assert "2000-02-29T00:00:00.000000Z" in expected(moments)
    assert written(server, moments) == expected(moments)


def test_moments_at_random(server: Server) -> None:
    randomly = random.Random(7)
    moments = [
        EPOCH + timedelta(seconds=randomly.randrange(DAYS * 86400), microseconds=randomly.randrange(1_000_000))
        for _ in range(20_000)
    ]
    assert written(server, moments) == expected(moments)


def test_the_servers_own_time(server: Server) -> None:
    raw = server.raw()
    script = Script.named("timestamp").source + "local now = redis.call('TIME') return {now[1], now[2], timestamp(now)}"
    seconds, micros, text = raw("EVAL", script, 0)
    said = datetime.fromisoformat(text.decode())
    assert said == EPOCH + timedelta(seconds=int(seconds), microseconds=int(micros))
