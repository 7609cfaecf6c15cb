"""The short blocks of the guides run, given what they take for granted: the reader's types, database and server."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.support.real_servers import Server
from tests.support.repository import ROOT

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NO_ADDRESS = re.compile(r'"valkey://cache\.internal:6379"')

COMMON = """
import msgspec
from datetime import timedelta
from typing import Annotated, Any
from greenroom import *
import greenroom.sync
class Product(msgspec.Struct, frozen=True):
    sku: int = 1
    name: str = "Chair"
"""
SHOP = f"""{COMMON}
PRODUCT = Keyspace("product:{{region}}:{{sku}}", Product, parts={{"sku": int}}, ttl=timedelta(minutes=30))
"""
ROOM = """
room = Greenroom(ADDRESS, sessions=False)
await room.__aenter__()
"""
ASKED = """
from greenroom.testing.http import http_client
async with http_client(app) as client:
    status = (await client.get("/products/eu/1")).status_code
    assert status == 404, status
"""


TABLE = """
class op:  # Alembic's calls, on the connection
    create_table = staticmethod(lambda name, *columns: sa.Table(name, sa.MetaData(), *columns).create(op.bind))
    create_index = staticmethod(lambda name, table, columns: op.bind.execute(
        sa.text(f"CREATE INDEX {name} ON {table} ({', '.join(columns)})")))
def migrate(connection):
    op.bind = connection
    exec(MIGRATION, {"op": op, "sa": sa})
async with engine.begin() as connection:
    await connection.run_sync(migrate)
"""
"""Alembic's calls on the connection, and the page's migration with them."""


def blocks(page: str) -> list[str]:
    """The blocks of a page that are no whole programs."""
    return _BLOCK.findall((ROOT / "docs" / page).read_text("utf-8"))


async def run(page: str, numbers: list[int], server: Server, before: str, after: str = "") -> dict[str, Any]:
    """Run blocks of a page, one after another, between what they take for granted and what is then asked of them."""
    found = blocks(page)
    code = "\n".join([before, *(_NO_ADDRESS.sub("ADDRESS", found[number]) for number in numbers), after])
    module = ModuleType("fragment")
    namespace = module.__dict__
    namespace["ADDRESS"] = server.address
    sys.modules["fragment"] = module  # where frameworks look up the names of annotations
    compiled = compile(code, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    if compiled.co_flags & inspect.CO_COROUTINE:
        await eval(compiled, namespace)
    else:
        # Rooms of threads refuse a thread in which a loop runs.
        await asyncio.to_thread(exec, compiled, namespace)
    return namespace


async def test_the_blocks_on_caching_declare_read_and_change(valkey: Server) -> None:
    after = """
    assert await product("eu", 1) is None
    async with room.changing(product.of("eu", 1)):
        pass
"""
    found = blocks("caching.md")
    found[1] = found[1].replace("\n", "\n    ")
    open_ = "async with room:\n    " + found[1] + after
    await run("caching.md", [0], valkey, SHOP, open_)


@pytest.mark.parametrize("page", ["fastapi.md", "litestar.md"])
async def test_the_block_of_a_framework_answers(page: str, valkey: Server) -> None:
    imports = {
        "fastapi.md": """
from fastapi import Depends, FastAPI, Request, Response
from greenroom.integrations.fastapi import *
class Product(__import__("pydantic").BaseModel):
    sku: int
""",
        "litestar.md": """
from litestar import Litestar, Request, Response, get
from litestar.params import FromPath
from greenroom.integrations.litestar import *
from greenroom.integrations.litestar_store import GreenroomStore
""",
    }
    keyspace = 'PRODUCT = Keyspace("product:{region}:{sku}", Product, parts={"sku": int}, ttl=timedelta(minutes=30))'
    await run(page, [0], valkey, f"{COMMON}{imports[page]}{keyspace}", ASKED)


async def test_the_blocks_for_threads_answer(valkey: Server) -> None:
    flask = f"""{COMMON}
from flask import Flask, Response, session
from greenroom.integrations.flask import Greenroom, answer
class Visitor(msgspec.Struct, kw_only=True):
    user_id: str | msgspec.UnsetType = msgspec.UNSET
NAME = Keyspace("name:{{sku}}", str, parts={{"sku": int}}, ttl=timedelta(minutes=30))
from flask import request
user_of = lambda form: "u1"
"""
    asked = """
with app.test_client() as browser:
    assert browser.get("/names/1", base_url="https://shop.example").status_code == 404
    assert browser.post("/log-in", base_url="https://shop.example").text == "hello"
room.close()
"""
    await run("flask.md", [0], valkey, flask, asked)
    dogpile = f"{COMMON}\nfrom dogpile.cache import make_region\n"
    await run("dogpile.md", [0], valkey, dogpile, "assert product(1) is None\nroom.close()\n")


async def test_the_blocks_on_progress_follow_a_job(valkey: Server) -> None:
    before = f"""{COMMON}
from types import SimpleNamespace
from starlette.responses import StreamingResponse
class Export(msgspec.Struct, frozen=True):
    status: str
async def load(export_id: int) -> Export:
    return Export("done")
request = SimpleNamespace(headers={{}})
{ROOM}
"""
    await run("progress.md", [0, 1], valkey, before, "await events.aclose()\nawait room.__aexit__(None, None, None)\n")


async def test_the_blocks_on_sessions_sign_in_and_change(valkey: Server) -> None:
    kept = """
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from greenroom.testing.http import http_client
url = ADDRESS
app = litestar_app = Starlette()
function = lambda old: msgspec.json.encode(msgspec.json.decode(old) | {"cart": ["b"]})
"""
    first, own, middleware = blocks("sessions.md")
    calls = [line for line in first.splitlines() if line and not line.startswith(("from", "app"))]
    calls = [line for line in calls if ".end()" not in line and not line.startswith("session =")]
    signed = "live = await session.sign_in"
    calls.sort(key=lambda line: not line.startswith(signed))  # a call without a session would be refused
    handler = (
        "\nasync def handler(request):\n    session = session_of(request.scope)\n    "
        + "\n    ".join(calls)
        + "\n    await session.end()\n    return JSONResponse(live.members)\n"
    )
    asked = """
room = Greenroom(ADDRESS)
async with room, http_client(SessionMiddleware(Starlette(routes=[Route("/", handler)]), room)) as client:
    answer = await client.get("/")
    assert (answer.status_code, answer.json()["cart"]) == (200, ["b"]), answer.text
"""
    await run("sessions.md", [], valkey, f"{COMMON}{kept}{handler}", asked)
    sign_ins = re.findall(r"^live = await session\.sign_in\((?:.*\)(?=  #)|\n.*\n\))", own, re.MULTILINE)
    assert len(sign_ins) == 2
    declared = own.partition("live = ")[0]
    handler = "\nasync def handler(request):\n    session = session_of(request.scope)\n"
    handler += "".join("    " + one.replace("\n", "\n    ") + "\n" for one in sign_ins)
    handler += "    return JSONResponse(live.value.basket)\n"
    asked = f"""
app = Starlette(routes=[Route("/", handler)])
app = {middleware.strip()}
async with room, http_client(app) as client:
    answer = await client.get("/")
    assert (answer.status_code, answer.json()) == (200, []), answer.text
"""
    await run("sessions.md", [], valkey, f"{COMMON}{kept}{declared}{handler}", asked)


async def test_the_blocks_on_sqlalchemy_make_the_table_and_drop(valkey: Server, tmp_path: Any) -> None:
    before = f"""{SHOP}
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from greenroom.integrations.sqlalchemy import SqlOutbox
class Base(DeclarativeBase): ...
class Product(Base):
    __tablename__ = "product"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
engine = create_async_engine("sqlite+aiosqlite:///{tmp_path}/shop.db")
"""
    block, migration = blocks("sqlalchemy.md")
    declared, _, used = _NO_ADDRESS.sub("ADDRESS", block).partition("async with room, outbox:")
    declared = "\n".join(line for line in declared.splitlines() if not line.startswith("engine"))
    after = f"""
{declared}
NAME = Keyspace("name:{{region}}:{{sku}}", str, parts={{"sku": int}}, ttl=timedelta(1))
@room.cached(NAME, groups=["names:{{region}}"])
async def product(region: str, sku: int) -> str: return "x"
products = product
async with engine.begin() as connection:
    await connection.run_sync(Base.metadata.tables["product"].create)
{TABLE.replace("MIGRATION", repr(migration))}
async with engine.begin() as connection:
    await connection.execute(sa.insert(Product).values(id=1, name="Chair"))
async with room, outbox:{used}
    async with AsyncSession(engine) as session:
        assert await session.scalar(sa.select(Product.name)) == "Stool"
await engine.dispose()
"""
    await run("sqlalchemy.md", [], valkey, before, after)


async def test_the_blocks_on_keyspaces_declare(valkey: Server) -> None:
    before = f"""{SHOP}
PAGE = Keyspace("page:{{region}}:{{page}}", list[int], parts={{"page": int}}, ttl=timedelta(minutes=5))
BASKET = Keyspace("basket:{{user}}", list[str], ttl=timedelta(hours=2))
"""
    assert (await run("keyspaces.md", [0, 2], valkey, before))["PRODUCT"].version == 2


def test_the_blocks_on_django_are_settings_and_a_cached_function(valkey: Server) -> None:
    settings, functions = blocks("django.md")
    program = f"""{COMMON}
import django
from django.conf import settings
from django.db import models
ADDRESS = {valkey.address!r}
{_NO_ADDRESS.sub("ADDRESS", settings).replace("[..., ", "[")}
database = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}}
names = ("INSTALLED_APPS", "GREENROOM", "CACHES", "SESSION_ENGINE")
settings.configure(DATABASES=database, **{{name: globals()[name] for name in names}})
django.setup()
from django.core.cache import cache
from django.core.management import call_command
from greenroom.integrations.django import cached, invalidates
EpisodeView = Product
class Episode(models.Model):
    show, number = models.CharField(max_length=9), models.IntegerField()
    Meta = type("Meta", (), {{"app_label": "site"}})
{functions}
call_command("check", fail_level="WARNING", verbosity=0)
cache.set("a", 1)
assert (cache.get("a"), episode("s1", 7)) == (1, None)
"""
    run = subprocess.run([sys.executable, "-c", program], env=os.environ, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr


RUN: dict[str, Callable[..., Any] | str] = {
    "api.md": "the client that it is made with, in tests/http/test_generated_clients.py",
    "caching.md": "here",
    "celery.md": "as `examples/jobs_celery.py`",
    "django.md": "here",
    "dogpile.md": "here",
    "fastapi.md": "here",
    "flask.md": "here",
    "keyspaces.md": "here, and the one with OPERATED in tests/integration/cli/test_looks.py",
    "litestar.md": "here",
    "mongodb.md": "tests/e2e/test_restore.py",
    "operating-a-room.md": "tests/docs/test_room_page.py",
    "progress.md": "here",
    "rq.md": "as `examples/jobs_rq.py`",
    "sessions.md": "here",
    "sqlalchemy.md": "here",
    "stores.md": "tests/docs/test_store_page.py",
    "sync.md": "tests/docs/test_sync_page.py",
    "testing.md": "tests/integration/testing/test_testing_kit.py",
}
"""Where the blocks of each page are run that have no title; those with one are run by test_pages.py."""


def test_every_page_with_blocks_is_run_somewhere() -> None:
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if blocks(page)} <= RUN.keys()
