"""A store and rate limits in FastAPI. Run it with `uvicorn store_and_rate_limits:app`; VALKEY_URL, or embedded."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated

import msgspec
from fastapi import Body, FastAPI, HTTPException, Request

from greenroom import Greenroom, Keyspace


class Basket(msgspec.Struct, frozen=True):
    items: tuple[str, ...] = ()


BASKET = Keyspace("basket:{user}", Basket, ttl=timedelta(hours=2))
VISITS = Keyspace("visits:{page}", int, ttl=timedelta(days=2))

room = Greenroom(os.environ.get("VALKEY_URL"), sessions=False)
baskets, visits = room.store(BASKET), room.store(VISITS)
orders = room.rate_limit("orders", 3, per=timedelta(minutes=1))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with room:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/baskets/{user}")
async def add(user: str, item: Annotated[str, Body()]) -> int:
    # Of two at once none is lost: the function is asked again with what the other has stored.
    basket = await baskets.change(lambda old: Basket((*(old or Basket()).items, item)), user=user)
    return len(basket.items) if basket else 0


@app.post("/orders/{user}")
async def order(user: str, request: Request) -> list[str]:
    address = request.client.host if request.client else "unknown"
    if wait := await orders.count(address):
        raise HTTPException(429, "too many orders", {"Retry-After": f"{wait:.0f}"})
    basket = await baskets.get(user=user)
    await baskets.delete(user=user)
    return list(basket.items) if basket else []


@app.get("/visits/{page}")
async def visit(page: str) -> int:
    return await visits.increment(page=page) or 0
