"""Tests lend their servers from each other: none stays behind, whichever way they are given back."""

from __future__ import annotations

from pathlib import Path

from tests.support.kept_servers import KeptServers
from tests.support.real_servers import valkey_binary


def test_a_server_is_lent_again_and_a_second_one_does_not_stay(tmp_path: Path) -> None:
    kept = KeptServers(tmp_path)
    with kept.lent(valkey_binary()) as first:
        pass
    with kept.lent(valkey_binary()) as again, kept.lent(valkey_binary()) as other:
        assert again is first
        assert other is not first
    lives = [server for server in (first, other) if server.process is not None]
    assert len(lives) == 1
    kept.close()
    assert lives[0].process is None
