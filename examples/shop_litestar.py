"""Cached reads and sessions in Litestar. Run it with `uvicorn shop_litestar:app`; VALKEY_URL, or embedded."""

import os
from datetime import timedelta
from typing import Any

import msgspec
from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from greenroom import Greenroom, GreenroomError, Keyspace, SessionMiddleware, session_of
from greenroom.integrations.problems import MEDIA_TYPE, answer_to, path_of


class Product(msgspec.Struct, frozen=True):
    sku: int
    name: str


DATABASE = {sku: Product(sku, f"Chair {sku}") for sku in range(1, 26)}  # stands for yours
PRODUCT = Keyspace("shop:product:{region}:{sku}", Product, parts={"sku": int}, ttl=timedelta(minutes=30))
room = Greenroom(os.environ.get("VALKEY_URL"))


@room.cached(PRODUCT)
async def product(region: str, sku: int) -> Product | None:
    return DATABASE.get(sku)


@get("/products/{region:str}/{sku:int}")
async def read(region: FromPath[str], sku: FromPath[int]) -> Response[bytes]:
    result = await product.get_result(region, sku)
    if result.body is None:
        raise NotFoundException
    return Response(result.body, media_type=MediaType.JSON)  # the stored bytes, encoded once


@post("/log-in/{user:str}")
async def log_in(request: Request[Any, Any, Any], user: FromPath[str]) -> None:  # check the password first
    await session_of(request.scope).sign_in({"user_id": user})


@get("/me")
async def me(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return (await session_of(request.scope).require()).members


def problem(
    request: Request[Any, Any, Any], error: GreenroomError
) -> Response[bytes]:  # as 422 for a URL without a key
    answer = answer_to(error)
    body = answer.body(path_of(request.scope))
    return Response(body, status_code=answer.status, headers=answer.headers, media_type=MEDIA_TYPE)


application = Litestar([read, log_in, me], lifespan=[room], exception_handlers={GreenroomError: problem})
app = SessionMiddleware(application, room)
