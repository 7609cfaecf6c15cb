"""Where a token never is: in no key, value, log line or metric; and a session's id in no log line or metric."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenroom.sessions.token import session_id
from tests.support.patience import wait_for
from tests.support.people import COOKIE, PASSWORD, people_of
from tests.support.real_servers import Server
from tests.support.running_service import API, Serve

WRONG = "tr0mbone of no account"
"""A password that somebody guesses; no text of ours has these words."""


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_neither_token_nor_id_is_logged_stored_or_measured(
    valkey: Server, serve: Serve, log_format: str, tmp_path: Path
) -> None:
    service = serve("--log-level", "debug", "--log-format", log_format, "--session-url", valkey.address)
    tokens: list[str] = []
    with people_of(service) as people:
        ana = people().sign_up()
        ana.prefer(playback_speed_default=2)
        tokens.append(ana.token)
        tokens.append(ana.log_in(token=True).json()["token"])
        bearer = {"Authorization": f"Bearer {tokens[-1]}"}
        phone = people(ana.username)
        phone.log_in()
        tokens.append(phone.token)
        raw = valkey.raw()
        for key in raw("KEYS", "*"):
            stored = raw("DUMP", key)
            for token in tokens:
                assert token.encode() not in key
                assert token.encode() not in stored
        # What goes wrong is logged in more words.
        ana.get("/session", headers=bearer)
        ana.get("/session", headers={"Cookie": f"{COOKIE}={tokens[0]}; {COOKIE}={tokens[1]}"})
        ana.get("/session", headers={"Authorization": f"Bearer {tokens[0]}"})
        ana.patch("/session/preferences", json={"token": tokens[0]})
        ana.post("/session/login", json={"username": ana.username, "password": WRONG})
        ana.patch("/session/preferences", json={}, headers={"Origin": "https://evil.example"})
        key = f"session:{session_id(tokens[1])}"
        whole = raw("GET", key)
        raw("SET", key, b"{", "XX", "KEEPTTL")
        assert ana.get("/session").status_code == 500
        ana.get("/sessions")
        phone.get("/sessions")
        raw("SET", key, whole, "XX", "KEEPTTL")
        raw("DEL", f"greenroom:touched:{{{key}}}")
        valkey.kill()
        assert ana.get("/session").status_code == 503
        ana.delete("/session")
        valkey.start()
        wait_for(lambda: ana.get("/session").status_code == 401, 30)
        metrics = service.client.get("/metrics").text
        described = service.client.get("/docs/openapi.json").text
    service.stop()
    record = b"".join(path.read_bytes() for path in service.data_dir.rglob("*") if path.is_file())
    ids = [session_id(token) for token in tokens]
    for secret in (*tokens, *ids, PASSWORD, WRONG):
        assert secret not in service.output()
        assert secret not in metrics
        assert secret not in described
        assert secret.encode() not in record
    assert "greenroom_session_events_total" in metrics
    assert f"{API}/session" in service.output(), "the access lines are there"
