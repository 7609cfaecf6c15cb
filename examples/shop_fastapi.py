"""A shop in FastAPI: cached reads and lists, and changes. Run: `uvicorn shop_fastapi:app`; VALKEY_URL, or embedded."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel

from greenroom import Greenroom, Keyspace, Number
from greenroom.integrations.problems import ProblemMiddleware


class Product(BaseModel):
    sku: int
    name: str


DATABASE = {sku: Product(sku=sku, name=f"Chair {sku}") for sku in range(1, 26)}  # stands for yours
PRODUCT = Keyspace("shop:product:{region}:{sku}", Product, parts={"sku": int}, ttl=timedelta(minutes=30))
PAGE = Keyspace("shop:page:{region}:{page}", list[int], parts={"page": Number(1, 10_000)}, ttl=timedelta(minutes=5))
room = Greenroom(os.environ.get("VALKEY_URL"), sessions=False)


@room.cached(PRODUCT)
async def product(region: str, sku: int) -> Product | None:
    return DATABASE.get(sku)


@room.cached(PAGE, groups=["shop:pages:{region}"])
async def products(region: str, page: int = 1) -> list[int]:
    return sorted(DATABASE)[10 * (page - 1) : 10 * page]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with room:
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(ProblemMiddleware)  # a URL that makes no key is answered with 422, an outage with 503
app.get("/products/{region}")(products)  # a cached function is an endpoint as the function was, and a dependency


@app.get("/products/{region}/{sku}")
async def read(found: Annotated[Product | None, Depends(product)]) -> Product:
    if found is None:
        raise HTTPException(404)
    return found


@app.put("/products/{region}/{sku}")
async def rename(region: str, sku: int, name: str) -> None:
    async with room.changing(product.of(region, sku), products.group(region)):
        DATABASE[sku] = Product(sku=sku, name=name)
