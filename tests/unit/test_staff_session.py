"""The signed cookie of staff: whose it is, until when, and what cannot be made without the token."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta

import pytest

from greenroom.clock import SystemClock
from greenroom_platform.http.staff_session import LIFETIME, ForgedCookie, StaffSession, StaffSessions

ACTS, LOOKS = "token-of-who-may-act", "token-of-who-may-look"
BEGUN = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Moved(SystemClock):
    """A clock that a test moves by hand."""

    __slots__ = ("moment",)

    def __init__(self) -> None:
        self.moment = BEGUN

    def now(self) -> datetime:
        return self.moment


def test_every_process_with_the_tokens_reads_the_cookie_until_its_end() -> None:
    clock = Moved()
    session, cookie = StaffSessions(ACTS, LOOKS, clock=clock).open("act", "Zoë Ångström")
    assert session == StaffSession(role="act", who="Zoë Ångström", until=BEGUN + LIFETIME)
    another = StaffSessions(ACTS, None, clock=clock)
    assert another.read([cookie]) == session
    assert another.read([]) is None
    clock.moment += LIFETIME - timedelta(seconds=1)
    assert another.read([cookie]) == session
    clock.moment += timedelta(seconds=1)
    assert another.read([cookie]) is None, "over, and no guess"


def test_a_token_gives_its_role_and_no_other() -> None:
    both, one = StaffSessions(ACTS, LOOKS), StaffSessions(ACTS, None)
    assert [both.role_of(token) for token in (ACTS, LOOKS, "", ACTS[:-1], "é\ud800")] == ["act", "read", *[None] * 3]
    assert one.role_of(LOOKS) is None


def test_two_cookies_of_one_person_differ() -> None:
    sessions = StaffSessions(ACTS, None)
    assert sessions.open("act", "ann")[1] != sessions.open("act", "ann")[1]


@pytest.mark.parametrize("tokens", [("another-token-of-now", LOOKS), (None, LOOKS)])
def test_the_cookie_is_over_when_its_token_is_changed(tokens: tuple[str | None, str]) -> None:
    sessions = StaffSessions(ACTS, LOOKS)
    acting, looking = sessions.open("act", "ann")[1], sessions.open("read", "bob")[1]
    changed = StaffSessions(*tokens)
    with pytest.raises(ForgedCookie):
        changed.read([acting])
    assert changed.read([looking]) is not None


def test_who_may_look_cannot_make_a_cookie_that_may_act() -> None:
    sessions = StaffSessions(ACTS, LOOKS)
    claims, signature = sessions.open("read", "bob")[1].split(".")
    acting = urlsafe_b64decode(claims + "=" * (-len(claims) % 4)).replace(b'"read"', b'"act"')
    text = urlsafe_b64encode(acting).rstrip(b"=").decode()
    # Who has the control token can sign whatever they like with it.
    signed = urlsafe_b64encode(sessions._signature("read", acting)).rstrip(b"=").decode()
    for forged in (f"{text}.{signature}", f"{text}.{signed}"):
        with pytest.raises(ForgedCookie):
            sessions.read([forged])


@pytest.mark.parametrize("cookie", ["", ".", "x", "a.b", "é.é", "e30.e30", "W10.", "A" * 2000])
def test_what_is_no_cookie_of_ours_is_refused(cookie: str) -> None:
    with pytest.raises(ForgedCookie):
        StaffSessions(ACTS, LOOKS).read([cookie])


def test_of_two_cookies_none_counts() -> None:
    sessions = StaffSessions(ACTS, LOOKS)
    with pytest.raises(ForgedCookie):
        sessions.read([sessions.open("act", "ann")[1], sessions.open("act", "eve")[1]])
