"""A shop over SQLAlchemy with an outbox: `python shop_sqlalchemy.py` once, then uvicorn; VALKEY_URL, DATABASE."""

import asyncio
import os
from datetime import timedelta

from fastapi import FastAPI, Request, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from greenroom import Greenroom, Keyspace
from greenroom.integrations.fastapi import answer, lifespan
from greenroom.integrations.sqlalchemy import SqlOutbox


class Base(DeclarativeBase): ...


class Product(Base):
    __tablename__ = "products"
    sku: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


NAME = Keyspace("shop:name:{sku}", str, parts={"sku": int}, ttl=timedelta(minutes=30))
engine = create_async_engine(os.environ.get("DATABASE", "sqlite+aiosqlite:///shop.db"))
room = Greenroom(os.environ.get("VALKEY_URL"))
outbox = SqlOutbox(room, engine, Base.metadata)  # a table beside yours: create_all and Alembic know it


async def create() -> None:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)


@room.cached(NAME)
async def name_of(sku: int) -> str | None:
    async with AsyncSession(engine) as session:
        return await session.scalar(select(Product.name).where(Product.sku == sku))


app = FastAPI(lifespan=lifespan(room, lambda _: outbox))  # it sends what killed processes left


@app.get("/names/{sku}")
async def read(request: Request, sku: int) -> Response:
    return answer(request, await name_of.get_result(sku))


@app.put("/names/{sku}")
async def write(sku: int, name: str) -> None:
    async with AsyncSession(engine) as session, outbox.transaction(session, name_of.of(sku)):
        await session.merge(Product(sku=sku, name=name))
    # committed, and dropped in every process


if __name__ == "__main__":  # once; or a migration does it
    asyncio.run(create())
