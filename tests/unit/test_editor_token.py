"""The editor token that is made: one for all who start at once, for this user alone."""

from __future__ import annotations

import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from greenroom import private_files
from greenroom.errors import InvalidInput
from greenroom_platform.http.address_bounds import WrongTokens
from greenroom_platform.http.auth import WRONG_TOKENS, is_editor
from greenroom_platform.http.editor_token import NAME, kept_token


def test_two_who_make_it_at_once_have_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_file, others = private_files.make_file, list[str]()

    def between(path: Path) -> None:
        monkeypatch.undo()
        others.append(kept_token(tmp_path))
        make_file(path)

    monkeypatch.setattr(private_files, "make_file", between)
    assert [kept_token(tmp_path)] == others == [(tmp_path / NAME).read_text().strip()]
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_it_stays_and_is_for_this_user_alone(tmp_path: Path) -> None:
    token = kept_token(tmp_path / "data")
    assert kept_token(tmp_path / "data") == token
    assert len(token) >= 32
    assert stat.S_IMODE((tmp_path / "data" / NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


@pytest.mark.parametrize("content", ["", "short\n", "two words of a token\n", "caf\xe9-caf\xe9-caf\xe9-caf\xe9\n"])
def test_a_file_without_a_token_is_named_with_the_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    with pytest.raises(InvalidInput, match=f"{NAME}.*delete the file"):
        kept_token(tmp_path)


class Secret(str):
    """A token that shows who compares it in a time that depends on what is right of a guess."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared letter by letter")

    def encode(self, *_: Any) -> bytes:
        return SecretBytes(str(self), "utf-8")


class SecretBytes(bytes):
    """Likewise."""

    __slots__ = ()
    __hash__ = bytes.__hash__

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared byte by byte")


async def test_a_token_is_compared_in_a_time_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[Any] = []

    async def count(self: WrongTokens, connection: Any) -> None:
        counted.append(connection)

    monkeypatch.setattr(WrongTokens, "count", count)
    monkeypatch.setattr(WrongTokens, "check", lambda *_: None)
    settings = SimpleNamespace(editor_token=Secret("the token of the editors"))
    state = SimpleNamespace(settings=settings, wrong_tokens=WrongTokens("editor", WRONG_TOKENS))

    def request(token: str) -> Any:
        return SimpleNamespace(headers={"authorization": f"Bearer {token}"}, app=SimpleNamespace(state=state))

    assert await is_editor(request("the token of the editors"))
    for wrong in ("the token of the editor", "the token of the editorz", "caf\xe9"):
        assert not await is_editor(request(wrong))
    assert len(counted) == 3
