"""`MODULE:NAME` of `greenroom definitions` and `greenroom acl`: what it may be, and what is said where it is not."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from greenroom.cli.group import group
from tests.support.absent import run_without

SHOP = '''
from datetime import timedelta

import msgspec

from greenroom import Greenroom, Keyspace, Keyspaces


class Product(msgspec.Struct, frozen=True):
    sku: str
    note: str | None = None


class Kept:
    """A class of the program."""

    room = Greenroom(sessions=False, prefix="kept:")


HOUR = timedelta(hours=1)
PRODUCT = Keyspace("product:{sku}", Product, ttl=HOUR)
BASKET = Keyspace("basket:{user}", dict[str, int], ttl=HOUR)
SHOP = Keyspaces(PRODUCT, stores=[BASKET], groups={"products": PRODUCT})
LIST = [PRODUCT, BASKET]
MIXED = [PRODUCT, "basket:{user}", 7]
NONE = []
VERSIONED = [PRODUCT, Keyspace("page:{number}", Product, ttl=HOUR, version=2)]
TWICE = [PRODUCT, PRODUCT]
room = Greenroom(sessions=False, prefix="p:")
empty = Greenroom(sessions=False)
baskets = room.store(BASKET)
limited = Greenroom(sessions=False, prefix="l:")
exports = limited.rate_limit("exports", 2, per=HOUR)


@room.cached(PRODUCT, groups=["products"])
async def product(sku: str) -> Product | None:
    return None


products = Kept.room.cached(PRODUCT)(product.load)
'''


@pytest.fixture(autouse=True)
def _program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The modules of a program stand in the current directory, which is not on the path."""
    package = tmp_path / "shopof20"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "keys.py").write_text(SHOP)
    (package / "broken.py").write_text("raise RuntimeError('no\\x1b[31m database')\n")
    (package / "needing.py").write_text("import no_such_dependency\n")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    yield
    assert sys.path == before, "the path is as it was"
    for name in [name for name in sys.modules if name.partition(".")[0] == "shopof20"]:
        del sys.modules[name]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(group, list(arguments), catch_exceptions=False)


def printed(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(
    ("name", "formats"),
    [
        ("room", ["p:product:<sku>", "p:basket:<user>"]),
        ("SHOP", ["product:<sku>", "basket:<user>"]),
        ("LIST", ["product:<sku>", "basket:<user>"]),
        ("PRODUCT", ["product:<sku>"]),
        ("Kept.room", ["kept:product:<sku>"]),
    ],
)
def test_definitions_of_a_module_s_keyspaces_are_printed(name: str, formats: list[str]) -> None:
    schemas = json.loads(printed("definitions", f"shopof20.keys:{name}", "--json-schema"))
    assert [one["key"] for one in schemas["x-greenroom"]["keyspaces"].values()] == formats
    text = printed("definitions", f"shopof20.keys:{name}")
    assert printed("definitions", f"shopof20.keys:{name}", "--markdown") == text
    for one in formats:
        assert f"`{one}`" in text
    assert "podcast" not in text


def test_a_group_and_a_nullable_member_stand_in_the_document() -> None:
    text = printed("definitions", "shopof20.keys:room")
    assert '"note": "string | null"  // default null' in text
    assert "`p:greenroom:group:{products}` of `p:product:<sku>`" in text
    assert "ZRANGE <group> 0 -1" in text
    assert "p:lease:{<member>}" in text


def test_a_version_before_the_json_is_told_to_other_languages() -> None:
    assert "no envelope, no version, no placeholder" in printed("definitions", "shopof20.keys:SHOP")
    versioned = printed("definitions", "shopof20.keys:VERSIONED")
    assert "White space may\n  stand before them" in versioned
    assert "no version" not in versioned


def test_the_flag_of_the_prefix_wins_over_the_room_s() -> None:
    assert "`q:product:<sku>`" in printed("definitions", "shopof20.keys:room", "--key-prefix", "q:")
    assert "`product:<sku>`" in printed("definitions", "shopof20.keys:room", "--key-prefix", "")


def test_access_rules_of_a_module_s_keyspaces_are_printed() -> None:
    (line,) = printed("acl", "worker", "--keyspaces", "shopof20.keys:room").splitlines()
    words = line.split()
    assert [word for word in words if word.startswith("~") and "greenroom" not in word] == [
        "~p:product:*",
        "~p:lease:{p:product:*}",
        "~p:absent:{p:product:*}",
        "~p:basket:*",
    ]
    assert "~p:greenroom:group:{products}" in words
    assert not any("session" in word or "podcast" in word for word in words)
    of_list = printed("acl", "worker", "--keyspaces", "shopof20.keys:SHOP")
    assert of_list.strip() == line.replace("~p:", "~").replace("{p:", "{").replace(":p:", ":")


def test_a_room_of_rate_limits_alone_has_rules_and_a_document() -> None:
    (line,) = printed("acl", "worker", "--keyspaces", "shopof20.keys:limited").splitlines()
    assert "~l:greenroom:attempts:{*}" in line.split()
    assert "+evalsha" in line.split()
    text = printed("definitions", "shopof20.keys:limited")
    assert "## 1." not in text
    assert text.count("---") == 1
    assert json.loads(printed("definitions", "shopof20.keys:limited", "--json-schema"))["properties"] == {}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("shopof20.keys", "'shopof20.keys' names no object of a module; write it like shop.keys:SHOP"),
        ("shopof20.keys:", "names no object of a module"),
        ("shopof20/keys.py:SHOP", "names no object of a module"),
        ("nosuch20.keys:SHOP", "there is no module nosuch20 in "),
        ("shopof20.nosuch:SHOP", "there is no module shopof20.nosuch in "),
        ("shopof20.needing:SHOP", "importing shopof20.needing failed: No module named 'no_such_dependency'; install"),
        ("shopof20.broken:SHOP", "importing shopof20.broken failed: RuntimeError: no\\x1b[31m database; see"),
        ("shopof20.keys:SHIP", "has no SHIP; it has PRODUCT, BASKET, SHOP, room, empty"),
        ("shopof20.keys:product", "is CachedFunction, which declares no keyspaces; write it like"),
        ("shopof20.keys:Product", "is StructMeta, which declares no keyspaces"),
        ("shopof20.keys:MIXED", "holds int, str, and keyspaces are wanted"),
        ("shopof20.keys:NONE", "holds nothing, and keyspaces are wanted"),
        (
            "shopof20.keys:empty",
            "is a room without caches, stores, sessions and rate limits; declare them at module level",
        ),
    ],
)
def test_an_object_that_declares_nothing_is_refused_with_the_cure(name: str, words: str) -> None:
    for argument, arguments in (("MODULE:NAME", ["definitions", name]), ("--keyspaces", ["acl", "--keyspaces", name])):
        result = run(*arguments)
        assert result.exit_code == 1
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"greenroom: {argument}: ")
        assert words in line, line


def test_two_that_make_one_key_are_refused() -> None:
    result = run("definitions", "shopof20.keys:TWICE")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "'product:{sku}' can make the same key as 'product:{sku}'" in result.stderr


def test_a_module_of_this_directory_wins_over_one_that_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "elsewhere" / "shopof20"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("")
    (other / "keys.py").write_text("")
    with monkeypatch.context() as patched:
        patched.syspath_prepend(other.parent)
        assert "`product:<sku>`" in printed("definitions", "shopof20.keys:SHOP")


@pytest.mark.parametrize("package", ["litestar", "uvicorn", "argon2", "obstore"])
def test_definitions_and_rules_need_the_extra_cli_only(package: str, tmp_path: Path) -> None:
    code = (
        "import sys; from tests.support.absent import hide; "
        "[hide(one) for one in ('litestar', 'uvicorn', 'argon2', 'obstore', 'zxcvbn', 'httptools')]; "
        f"import os; os.chdir({str(tmp_path)!r}); from greenroom.cli import main; main()"
    )
    run = run_without(package, code, "definitions", "shopof20.keys:SHOP")
    assert (run.returncode, run.stderr) == (0, "")
    assert "`product:<sku>`" in run.stdout
    run = run_without(package, code, "acl", "worker", "--keyspaces", "shopof20.keys:SHOP")
    assert (run.returncode, run.stderr) == (0, "")
    assert "~product:*" in run.stdout
