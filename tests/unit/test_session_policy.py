"""What a request's signals mean for its session, over every combination of them."""

from __future__ import annotations

from itertools import product

import pytest

from greenroom.sessions.policy import (
    Carrier,
    Decision,
    Kind,
    LookUp,
    Origin,
    Signals,
    Token,
    Transport,
    decide,
    sets_cookie,
)
from greenroom.sessions.refusals import SignInRequired, refusal

EVERY = [
    (Signals(kind, unsafe, origin, token, carrier, transport), found)
    for kind, unsafe, origin, token, carrier, transport, found in product(
        Kind, (False, True), Origin, Token, Carrier, Transport, (None, *LookUp)
    )
]
"""2 · 2 · 4 · 3 · 2 · 3 · 7 = 2,016 requests."""

HELD = [
    (signals, found)
    for signals, found in EVERY
    if signals.token is Token.PRESENT
    and signals.transport is not Transport.PLAIN
    and decide(signals, found) is not Decision.FOREIGN
]
"""Those whose token the store may be asked about."""


def test_every_combination_has_an_outcome_and_every_outcome_a_combination() -> None:
    assert len(EVERY) == 2016
    assert {decide(signals, found) for signals, found in EVERY} == set(Decision)


def test_a_foreign_page_is_refused_exactly_where_it_could_act_for_the_user() -> None:
    for signals, found in EVERY:
        acts = signals.unsafe or signals.kind is Kind.WEBSOCKET
        refused = decide(signals, found) is Decision.FOREIGN
        assert refused == (acts and signals.origin is Origin.FOREIGN), signals


def test_whose_page_sent_it_matters_in_no_other_way() -> None:
    for signals, found in EVERY:
        if decide(signals, found) is not Decision.FOREIGN:
            of_none = Signals(
                signals.kind, signals.unsafe, Origin.NONE, signals.token, signals.carrier, signals.transport
            )
            assert decide(signals, found) is decide(of_none, found), signals


def test_plain_http_off_loopback_has_no_session_whatever_the_token() -> None:
    for signals, found in EVERY:
        if signals.transport is Transport.PLAIN:
            assert decide(signals, found) in (Decision.INSECURE, Decision.FOREIGN), signals
        else:
            assert decide(signals, found) is not Decision.INSECURE, signals


def test_only_a_token_of_the_right_form_is_looked_up() -> None:
    for signals, found in EVERY:
        if found is None:
            asks = decide(signals) is Decision.LOOK_UP
            assert asks == ((signals, None) in HELD), signals
        else:
            assert decide(signals, found) is not Decision.LOOK_UP, signals


def test_a_session_is_used_only_where_the_store_has_one() -> None:
    for signals, found in EVERY:
        if decide(signals, found) in (Decision.LIVE, Decision.READ_ONLY):
            assert (signals, found) in HELD, signals
            assert found in (LookUp.LIVE, LookUp.COPY), signals


def test_only_a_request_without_a_token_counts_as_anonymous() -> None:
    for signals, found in EVERY:
        if decide(signals, found) is Decision.NONE:
            assert signals.token is Token.ABSENT, signals


def test_a_presented_token_that_names_nothing_is_dead() -> None:
    for signals, found in EVERY:
        if signals.token is Token.MALFORMED and signals.transport is not Transport.PLAIN:
            assert decide(signals, found) in (Decision.DEAD, Decision.FOREIGN), signals
    assert {decide(signals, found) for signals, found in HELD if found is LookUp.NOTHING} == {Decision.DEAD}


def test_trouble_of_the_store_is_told_as_such_and_never_as_not_signed_in() -> None:
    told = {
        LookUp.UNAVAILABLE: (Decision.UNAVAILABLE, 503),
        LookUp.OVERLOADED: (Decision.OVERLOADED, 503),
        LookUp.BROKEN: (Decision.BROKEN, 500),
    }
    for signals, found in HELD:
        if found in told:
            outcome = decide(signals, found)
            assert (outcome, refusal(outcome, presented=True).status) == told[found], signals


def test_what_a_rotation_leaves_is_read_by_requests_and_opens_no_socket() -> None:
    for signals, found in HELD:
        if found is LookUp.COPY:
            expected = Decision.READ_ONLY if signals.kind is Kind.HTTP else Decision.DEAD
            assert decide(signals, found) is expected, signals
        if found is LookUp.LIVE:
            assert decide(signals, found) is Decision.LIVE, signals


def test_how_the_token_came_changes_only_where_a_new_one_goes() -> None:
    for signals, found in EVERY:
        other = Signals(signals.kind, signals.unsafe, signals.origin, signals.token, Carrier.BEARER, signals.transport)
        assert decide(signals, found) is decide(other, found), signals
        assert sets_cookie(signals) == (signals.carrier is Carrier.COOKIE), signals


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Decision.FOREIGN, 403),
        (Decision.INSECURE, 403),
        (Decision.NONE, 401),
        (Decision.DEAD, 401),
        (Decision.READ_ONLY, 401),
        (Decision.UNAVAILABLE, 503),
        (Decision.OVERLOADED, 503),
        (Decision.BROKEN, 500),
    ],
)
def test_each_outcome_without_a_session_to_write_has_its_status(outcome: Decision, status: int) -> None:
    refused = refusal(outcome, presented=False)
    assert refused.status == status
    assert ("WWW-Authenticate" in refused.headers) == (status == 401)
    assert ("Retry-After" in refused.headers) == (status == 503)


def test_the_challenge_names_an_error_only_to_who_presented_a_token() -> None:
    assert "invalid_token" in SignInRequired(presented=True).headers["WWW-Authenticate"]
    assert SignInRequired().headers["WWW-Authenticate"] == 'Bearer realm="greenroom"'


def test_a_token_is_not_shown_with_its_signals() -> None:
    signals = Signals(
        Kind.HTTP, False, Origin.NONE, Token.PRESENT, Carrier.COOKIE, Transport.SECURE, text="a-secret-token"
    )
    assert "a-secret-token" not in f"{signals} {signals!r}"
