"""Groups: pages that one change makes stale together. Run it; an address in VALKEY_URL, or a Valkey is embedded."""

import asyncio
import os
from collections import Counter
from datetime import timedelta

from greenroom import Greenroom, Keyspace, Loaded, Number

listed = {("chairs", "eu"): ["Stool", "Bench"], ("chairs", "us"): ["Stool"], ("lamps", "eu"): ["Lantern"]}
loads = Counter[str]()

PAGE = Keyspace(
    "shop:list:{category}:{region}:{page}", list[str], parts={"page": Number(1, 100)}, ttl=timedelta(minutes=10)
)
room = Greenroom(os.environ.get("VALKEY_URL"), sessions=False)
CATEGORY, REGION = "shop:category:{category}", "shop:region:{region}"  # groups, made of parts of the key


@room.cached(PAGE, groups=[CATEGORY, REGION])
async def page(category: str, region: str, page: int) -> list[str] | Loaded[list[str]]:
    loads[f"{category} {region}"] += 1
    found = listed.get((category, region), [])[page - 1 :]
    # An empty page is not worth ten minutes: something is perhaps just being added.
    return found or Loaded(found, ttl=timedelta(seconds=30))


async def read_all() -> str:
    """Reads a page of each list; says which of them were loaded, and not read from the cache."""
    loads.clear()
    await page.get_many([(category, region, 1) for category, region in listed])
    return ", ".join(sorted(loads)) or "nothing"


async def main() -> None:
    async with room:
        print("first:", await read_all())
        print("again:", await read_all())
        # Whoever adds a chair knows its category and not who has read which page: the group names them all.
        async with room.changing(page.group(CATEGORY, "chairs")):
            listed["chairs", "us"].append("Sofa")
        print("after a new chair:", await read_all())
        await page.invalidate_group(REGION, "eu")  # new prices in Europe
        print("after new prices:", await read_all())
        # A page that nobody has asked for yet joins its groups when it is stored, not before.
        print(await page("lamps", "us", 1), await page("chairs", "us", 2))


if __name__ == "__main__":
    asyncio.run(main())
