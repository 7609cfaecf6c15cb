"""Which declarations the commands work on: those of the one installed package that has some."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from greenroom.cli import options
from greenroom.errors import InvalidInput
from greenroom_platform.cli.declarations import DECLARATIONS

PLATFORM = EntryPoint("platform", "greenroom_platform.cli.declarations:DECLARATIONS", options.DECLARATIONS)
SHOP = EntryPoint("shop", "shop.keys:SHOP", options.DECLARATIONS)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([], "no installed package declares any"),
        ([SHOP, PLATFORM], "platform = greenroom_platform.cli.declarations:DECLARATIONS, shop = shop.keys:SHOP"),
    ],
)
def test_none_and_several_installed_declarations_are_refused(
    monkeypatch: pytest.MonkeyPatch, found: list[EntryPoint], words: str
) -> None:
    monkeypatch.setattr(options, "entry_points", lambda group: found)
    with pytest.raises(InvalidInput, match=words) as caught:
        options.installed()
    assert caught.value.field == "keyspaces"
    assert options.flag_of("keyspaces") == "keyspaces", "an error is told all the same"


def test_the_one_that_is_installed_is_taken() -> None:
    assert options.installed() is DECLARATIONS
