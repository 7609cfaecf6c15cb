"""Cached answers, changes, and Litestar's own response cache. `uvicorn shop_litestar:app`; VALKEY_URL, or embedded."""

import os
from datetime import timedelta
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, get, put
from litestar.params import FromPath, FromQuery

from greenroom import Greenroom, Keyspace
from greenroom.integrations.litestar import GreenroomPlugin, answer
from greenroom.integrations.litestar_store import GreenroomStore


class Product(msgspec.Struct, frozen=True):
    sku: int
    name: str


DATABASE = {sku: Product(sku, f"Chair {sku}") for sku in range(1, 26)}  # stands for yours
PRODUCT = Keyspace("shop:product:{region}:{sku}", Product, parts={"sku": int}, ttl=timedelta(minutes=30))
room = Greenroom(os.environ.get("VALKEY_URL"), sessions=False)


@room.cached(PRODUCT)
async def product(region: str, sku: int) -> Product | None:
    return DATABASE.get(sku)


@get("/products/{region:str}/{sku:int}")
async def read(request: Request[Any, Any, Any], region: FromPath[str], sku: FromPath[int]) -> Response[Product]:
    return answer(request, await product.get_result(region, sku))  # ETag, 304, Cache-Status; 404 where there is none


@put("/products/{region:str}/{sku:int}")
async def rename(region: FromPath[str], sku: FromPath[int], name: FromQuery[str]) -> None:
    async with room.changing(product.of(region, sku)):
        DATABASE[sku] = Product(sku, name)


@get("/report", cache=60)  # Litestar's response cache: by time alone, in all processes
async def report() -> int:
    return len(DATABASE)


stores: Any = {"response_cache": GreenroomStore(room, misses=True)}
app = Litestar([read, rename, report], plugins=[GreenroomPlugin(room)], stores=stores)
