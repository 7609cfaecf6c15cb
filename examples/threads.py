"""Threads: a report by eight of them over SQLite. Run it; an address in VALKEY_URL, or a Valkey is embedded."""

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import local

from greenroom import Keyspace
from greenroom.sync import Greenroom

DATABASE = "file:shop?mode=memory&cache=shared"
owner = sqlite3.connect(DATABASE, uri=True, check_same_thread=False)  # while it is open the database exists
owner.execute("CREATE TABLE item (sku INTEGER, price INTEGER)")
owner.executemany("INSERT INTO item VALUES (?, ?)", [(sku, 10 * sku) for sku in range(1, 51)])
owner.commit()

PRICE = Keyspace("shop:price:{sku}", int, parts={"sku": int}, ttl=timedelta(minutes=5))
SOLD = Keyspace("shop:sold:{day}", int, ttl=timedelta(days=2))
room = Greenroom(os.environ.get("VALKEY_URL"), sessions=False)  # opens itself at the first call
sold = room.store(SOLD)
mine, opened = local(), [owner]
loads: list[int] = []


def connection() -> sqlite3.Connection:
    if not hasattr(mine, "connection"):
        mine.connection = sqlite3.connect(DATABASE, uri=True, check_same_thread=False)
        opened.append(mine.connection)  # to be closed at the end
    found: sqlite3.Connection = mine.connection
    return found


@room.cached(PRICE)
def price(sku: int) -> int | None:  # in the thread that missed, with the connection of that thread
    loads.append(sku)
    row = connection().execute("SELECT price FROM item WHERE sku = ?", (sku,)).fetchone()
    return None if row is None else int(row[0])


def sell(sku: int) -> int:
    sold.increment(day="monday")
    return price(sku) or 0


if __name__ == "__main__":
    with ThreadPoolExecutor(8) as pool:
        print(sum(pool.map(sell, [sku % 50 + 1 for sku in range(400)])), "earned,", sold.get("monday"), "sold")
    print(len(loads), "loads of 50 prices, in 400 reads")
    with room.changing(price.of(1)), owner:
        owner.execute("UPDATE item SET price = 99 WHERE sku = 1")
    print("now", price(1))
    for one in opened:
        one.close()
