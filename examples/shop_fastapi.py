"""A shop in FastAPI: cached answers, lists and changes. Run: `uvicorn shop_fastapi:app`; VALKEY_URL, or embedded."""

import os
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response
from pydantic import BaseModel

from greenroom import CacheResult, Greenroom, Keyspace, Number
from greenroom.integrations.fastapi import add_error_handlers, answer, lifespan, result_of


class Product(BaseModel):
    sku: int
    name: str


DATABASE = {sku: Product(sku=sku, name=f"Chair {sku}") for sku in range(1, 26)}  # stands for yours
PRODUCT = Keyspace("shop:product:{region}:{sku}", Product, parts={"sku": int}, ttl=timedelta(minutes=30))
PAGE = Keyspace("shop:page:{region}:{page}", list[int], parts={"page": Number(1, 10_000)}, ttl=timedelta(minutes=5))
room = Greenroom(os.environ.get("VALKEY_URL"), sessions=False)
app = FastAPI(lifespan=lifespan(room))
add_error_handlers(app)  # 422 for a URL that makes no key, 503 in an outage


@room.cached(PRODUCT)
async def product(region: str, sku: int) -> Product | None:
    return DATABASE.get(sku)


@app.get("/products/{region}")  # a cached function is an endpoint as the function was, and a dependency
@room.cached(PAGE, groups=["shop:pages:{region}"])
async def products(region: str, page: int = 1) -> list[int]:
    return sorted(DATABASE)[10 * (page - 1) : 10 * page]


@app.head("/products/{region}/{sku}", include_in_schema=False)
@app.get("/products/{region}/{sku}", response_model=Product)
async def read(request: Request, result: Annotated[CacheResult[Product], Depends(result_of(product))]) -> Response:
    return answer(request, result)  # the stored JSON with ETag and Cache-Status; 304; 404 where there is none


@app.put("/products/{region}/{sku}")
async def rename(region: str, sku: int, name: str) -> None:
    async with room.changing(product.of(region, sku), products.group(region)):
        DATABASE[sku] = Product(sku=sku, name=name)
