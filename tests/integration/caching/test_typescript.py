"""`greenroom definitions --typescript`: compiled by `tsc --strict`, and run by Node on a server that Python uses."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import msgspec
import pytest
from pydantic import BaseModel, Field

from greenroom import Greenroom, Keyspace, Number, Outcome, Text
from greenroom.errors import InvalidInput
from greenroom.keyspace.typescript import typescript
from tests.support.node_packages import MODULES, node_program
from tests.support.patience import until
from tests.support.real_servers import Server

pytestmark = pytest.mark.one_kind
HOUR = timedelta(hours=1)


class Price(msgspec.Struct, frozen=True):
    """What it costs. */ It is no end of a comment."""

    amount: int
    currency: Literal["EUR", "USD"] = "EUR"


class Product(msgspec.Struct, frozen=True, rename={"unit_price": "unit price"}):
    """What is sold."""

    sku: int
    unit_price: Price
    note: str | None
    pair: tuple[int, str]
    stock: dict[str, float] = msgspec.field(default_factory=dict)
    tags: list[str] = msgspec.field(default_factory=list)


class Node(BaseModel):
    """A type that holds itself."""

    name: str = Field(description="As it is shown.")
    parent: Node | None = None


class Card(msgspec.Struct, tag="card", frozen=True):
    """Paid by card."""

    number: str


class Cash(msgspec.Struct, tag="cash", frozen=True):
    """Paid in cash."""


PRODUCT = Keyspace("shop:product:{region}:{sku}", Product, parts={"sku": int}, ttl=HOUR, name="product", version=2)
EACH = Keyspace(
    "shop:{word}/{page}/{id}/{day}/{q}:end",
    Card | Cash,  # type: ignore[arg-type]
    parts={"page": Number(1, 100), "id": UUID, "day": date, "q": Text()},
    ttl=HOUR,
    name="each",
)
NODES = Keyspace("shop:nodes", tuple[Node, ...], ttl=HOUR, name="class")
BASKET = Keyspace("basket:{user}", dict[str, int], ttl=HOUR, name="text")


async def pay(**_: object) -> Any:
    """Reads nothing."""


class Shop:
    """A program whose record changes."""

    def __init__(self, address: str | None = None) -> None:
        self.note: str | None = "red"
        self.room = Greenroom(address, prefix="p:", sessions=False)
        self.product = self.room.cached(PRODUCT, groups=["shop:products:{region}", "all"])(self.load)
        self.room.cache(EACH, load=pay)
        self.room.cache(NODES, load=lambda: ())
        self.room.store(BASKET)

    async def load(self, region: str, sku: int) -> Product | None:
        """Reads the record."""
        return Product(sku, Price(7), self.note, (1, "a"))

    @property
    def file(self) -> str:
        """The file of TypeScript."""
        return typescript(self.room.declarations.keyspaces.prefixed("p:"))


USE = """
import { Redis } from "ioredis";
import { createClient } from "redis";
import * as shop from "./shop.js";
import type { EachValue, ProductValue, Product } from "./shop.js";

const [port, kind] = [Number(process.argv[2]), process.argv[3]];
const key: string = shop.product.key({ region: "eu", sku: 7 });
let text: string | null;
let client: shop.Client;
let close: () => unknown;
if (kind === "ioredis") {
  const redis = new Redis(port, "127.0.0.1");
  text = await redis.get(key);
  client = redis;
  close = () => redis.disconnect();
} else {
  const redis = createClient({ url: `redis://127.0.0.1:${port}` });
  await redis.connect();
  text = await redis.get(key);
  client = kind === "function" ? (command) => redis.sendCommand(command) : redis;
  close = () => redis.destroy();
}
const found: ProductValue = JSON.parse(text ?? "null") as Product;
const note: string | null = found.note;
const currency: "EUR" | "USD" | undefined = found["unit price"].currency;
const paid: EachValue = { type: "card", number: "1" };
const nodes: shop.ClassValue = [{ name: "a", parent: { name: "b" } }];
const basket: shop.TextValue = { tea: 1 };
if (process.argv[4] === "group") await shop.shopProductsGroup.invalidate(client, { region: "eu" });
else if (process.argv[4] === "all") await shop.allGroup.invalidate(client);
else await shop.product.invalidate(client, { region: "eu", sku: 7n });
await shop._class.invalidate(client);
console.log(JSON.stringify([note, currency, found.pair[1], paid.type, nodes.length, basket.tea, shop._class.key()]));
close();
"""

KEYS = """
import { readFileSync } from "node:fs";
import * as shop from "./shop.js";
const asked = JSON.parse(readFileSync(0, "utf8")) as Parameters<typeof shop.each.key>[0][];
console.log(JSON.stringify(asked.map((parts) => {
  try { return shop.each.key(parts); } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return [error.message];
  }
})));
"""

WRONG = [
    'shop.product.key({ regoin: "eu", sku: 7 });',
    'shop.product.key({ region: "eu" });',
    'shop.product.key({ region: "eu", sku: "7" });',
    "shop.product.invalidate({} as shop.Client, { region: 1, sku: 7 });",
    "shop.text_.invalidate({} as shop.Client);",
    'const price: shop.Price = { amount: 1, currency: "GBP" };',
    "const product: shop.ProductValue = { sku: 1 };",
    'const paid: shop.EachValue = { type: "cheque" };',
]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the file, and programs that use it, as JavaScript."""
    node_program("tsc")
    directory = tmp_path_factory.mktemp("typescript")
    (directory / "node_modules").symlink_to(MODULES)
    (directory / "package.json").write_text('{"type": "module"}')
    (directory / "shop.ts").write_text(Shop().file)
    (directory / "use.ts").write_text(USE)
    (directory / "keys.ts").write_text(KEYS)
    run = tsc(directory, "shop.ts", "use.ts", "keys.ts")
    assert run.returncode == 0, run.stdout
    return directory


def tsc(directory: Path, *files: str) -> subprocess.CompletedProcess[str]:
    flags = ["--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes", "--noImplicitReturns"]
    flags += ["--target", "es2022", "--module", "nodenext", "--skipLibCheck", "--types", "node"]
    return subprocess.run(
        [node_program("tsc"), *flags, *files], cwd=directory, capture_output=True, text=True, timeout=110
    )


def node(directory: Path, *arguments: str, stdin: str = "") -> Any:
    run = subprocess.run(
        ["node", *arguments], cwd=directory, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize(
    ("client", "what"), [("ioredis", "value"), ("redis", "value"), ("function", "group"), ("ioredis", "all")]
)
async def test_node_reads_and_drops_what_python_has_near(
    server: Server, compiled: Path, client: str, what: str
) -> None:
    shop = Shop(server.address)
    async with shop.room:
        await shop.product("eu", 7)
        assert (await shop.product.get_result("eu", 7)).outcome is Outcome.NEAR
        shop.note = None
        raw, companions = server.raw(), [f"p:{use}:{{p:shop:product:eu:7}}" for use in ("lease", "absent")]
        for key in companions:
            raw("SET", key, "x")
        printed = await asyncio.to_thread(node, compiled, "use.js", str(server.port), client, what)
        assert printed == ["red", "EUR", "a", "card", 1, 1, "p:shop:nodes"]
        assert raw("EXISTS", "p:shop:product:eu:7", *companions) == 0, "the value goes with its lease and absence"
        await until(lambda: shop.product.peek("eu", 7) is None)
        result = await shop.product.get_result("eu", 7)
        assert result.outcome is Outcome.LOADED
        assert result.value is not None
        assert result.value.note is None


GOOD: dict[str, Any] = {
    "word": "a.b_c~d-E9",
    "page": 1,
    "id": "0b5fc6a5-3c1e-4f0e-9d8b-1f2e3d4c5b6a",
    "day": "2024-02-29",
    "q": "tea",
}
CASES: list[dict[str, Any]] = [
    *({"q": text} for text in ("", " ", "é/ü:{}*", "!'()*~._-", "x" * 100, "x" * 101, "é" * 17, "😀", "\ud83d", "a\n")),
    *({"word": text} for text in ("", "x" * 128, "x" * 129, "a b", "a:b", "é", "a\n", "%41")),
    *({"page": number} for number in (0, 100, 101, -1, 1.5, "1")),
    *({"id": text} for text in ("0b5fc6a53c1e4f0e9d8b1f2e3d4c5b6a", "x", "0b5fc6a5-3c1e-4f0e-9d8b-1f2e3d4c5b6a\n")),
    *({"day": text} for text in ("2023-02-29", "0001-01-01", "0000-01-01", "9999-12-31", "2024-13-01", "24-01-01")),
]


def python_key(parts: dict[str, Any]) -> str | None:
    try:
        identity = UUID(parts["id"]) if str(UUID(parts["id"])) == parts["id"] else None
        return EACH.prefixed("p:").key(**parts | {"id": identity, "day": date.fromisoformat(parts["day"])})
    except (InvalidInput, ValueError):
        return None


def test_keys_are_spelt_and_refused_as_in_python(compiled: Path) -> None:
    asked = [GOOD | case for case in CASES]
    keys = node(compiled, "keys.js", stdin=json.dumps(asked))
    for case, parts, key in zip(CASES, asked, keys, strict=True):
        expected = python_key(parts)
        if expected is None:
            (name,) = case
            assert isinstance(key, list), (case, key)
            assert key[0].startswith(f"{name}: "), key
            assert "; " in key[0], "with the cure"
        else:
            assert key == expected, case


def test_what_misspells_a_part_or_a_member_does_not_compile(compiled: Path) -> None:
    lines = ['import * as shop from "./shop.js";', *WRONG]
    (compiled / "wrong.ts").write_text("\n".join(lines))
    run = tsc(compiled, "--noEmit", "wrong.ts")
    places = {line.partition("(")[2].partition(",")[0] for line in run.stdout.splitlines() if line.startswith("wrong")}
    assert places == {str(number) for number in range(2, len(lines) + 1)}, run.stdout


# Where there is no Node ------------------------------------------------------------------------------------


def test_the_file_has_a_type_a_builder_and_invalidation_for_each() -> None:
    text = Shop().file
    for line in (
        "export type ProductValue = Product;",
        "  note: (string | null);",
        '  "unit price": Price;',
        '  currency?: ("EUR" | "USD");',
        "  pair: [number, string];",
        "  stock?: Record<string, number>;",
        "/** What it costs. * / It is no end of a comment. */",
        "export type ClassValue = Array<Node>;",
        "  parent?: (Node | null);",
        "  /** As it is shown. */",
        "export const shopProductsGroup = {",
    ):
        assert line in text.splitlines(), line
    assert text.count("async invalidate(client: Client") == 5, "three caches, two groups, and no store"


def test_names_that_typescript_has_or_that_come_twice_are_others() -> None:
    room = Greenroom(sessions=False)
    one: Callable[[], int] = lambda: 1  # noqa: E731
    load: Callable[[str], int] = lambda _: 1  # noqa: E731
    for name in ("delete", "drop", "shop_page", "7up", "Array"):
        room.cache(Keyspace(f"{name}_key", int, ttl=HOUR, name=name), load=one)
    room.cache(Keyspace("other:{a}", int, ttl=HOUR, name="shop-page"), load=load, groups=["by:{a}", "by"])
    text = typescript(room.declarations.keyspaces)
    names = [line.split()[2] for line in text.splitlines() if line.startswith("export const")]
    assert names == ["_delete", "drop_", "shopPage", "_7up", "array", "shopPage_", "byGroup", "byGroup_"]
    assert "node:crypto" not in text, "it is needed for texts alone"
