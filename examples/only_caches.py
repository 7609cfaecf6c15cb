"""Only caches: a catalogue in SQLite, read through. Run it; an address in VALKEY_URL, or a Valkey is embedded."""

import asyncio
import os
import sqlite3
from datetime import timedelta

import msgspec

from greenroom import Greenroom, Keyspace, Number

database = sqlite3.connect(":memory:", check_same_thread=False)
database.execute("CREATE TABLE product (region TEXT, sku INTEGER, name TEXT)")
database.executemany("INSERT INTO product VALUES ('eu', ?, ?)", [(1, "Chair"), (2, "Table"), (3, "Lamp")])


class Product(msgspec.Struct, frozen=True):
    region: str
    sku: int
    name: str


PRODUCT = Keyspace("product:{region}:{sku}", Product, parts={"sku": int}, ttl=timedelta(minutes=30))
PAGE = Keyspace("products:{region}:{page}", list[int], parts={"page": Number(1, 1000)}, ttl=timedelta(minutes=5))

room = Greenroom(os.environ.get("VALKEY_URL"), sessions=False)  # connects to nothing before its block


@room.cached(PRODUCT)
def product(region: str, sku: int) -> Product | None:  # not async: it runs in a thread
    """A product, from the database."""
    row = database.execute("SELECT name FROM product WHERE (region, sku) = (?, ?)", (region, sku)).fetchone()
    return None if row is None else Product(region, sku, row[0])


@room.cached(PAGE, groups=["products:{region}"])
def page(region: str, page: int) -> list[int]:
    """The products of one page of a list."""
    sql = "SELECT sku FROM product WHERE region = ? ORDER BY name LIMIT 2 OFFSET ?"
    return [sku for (sku,) in database.execute(sql, (region, 2 * (page - 1)))]


async def rename(region: str, sku: int, name: str) -> None:
    """Change the database, then what is cached of it: the product, and all pages of its region."""
    async with room.changing(product.of(region, sku), page.group(region)):
        database.execute("UPDATE product SET name = ? WHERE (region, sku) = (?, ?)", (name, region, sku))


async def main() -> None:
    async with room:
        print(await product("eu", 1), await product("eu", 9))
        print(await page("eu", 1), [one.name for one in await product.get_many([("eu", 1), ("eu", 2)]) if one])
        await rename("eu", 1, "Zabuton")
        print(await product("eu", 1), await page("eu", 1))


if __name__ == "__main__":
    asyncio.run(main())
    database.close()
