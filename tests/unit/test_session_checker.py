"""The judge of sessions, on histories made by hand: each promise just kept, and just broken."""

from __future__ import annotations

import pytest

from torture.checker import Violation
from torture.history import Emptied, Event, Fault, Killed, RolledBack
from torture.session_checker import COPY, check_sessions
from torture.session_history import (
    BEGUN,
    CANCELLED,
    NO,
    YES,
    Answer,
    Begun,
    Changed,
    Counted,
    Ended,
    EndedAll,
    Listed,
    Looked,
    Resent,
    Rotated,
)
from torture.trouble import MARGIN, RECOVERY

HERE, THERE = 0, 1
BIRTH = Begun(HERE, 0.0, 0.1, "s", "u", YES)


def judged(*events: Event) -> list[Violation]:
    """What is wrong with a session of `u` that began at 0.1, and with what else happened."""
    return check_sessions([BIRTH, *events])


def looked(at: float, count: int, *, by: int = THERE, copy: bool = False, session: str = "s") -> Looked:
    return Looked(by, at, at + 0.01, session, count, copy)


def changed(began: float, ended: float, answer: str = YES, count: int = -1, session: str = "s") -> Changed:
    return Changed(HERE, began, ended, session, answer, count)


def ended(began: float, at: float, answer: str = YES, *, by: int = HERE) -> Ended:
    return Ended(by, began, at, "s", answer)


def fault(began: float, ended: float) -> Fault:
    return Fault(-1, began, ended, "harm")


# What lives ------------------------------------------------------------------------------------------


def test_a_session_that_has_begun_is_there() -> None:
    assert not judged(looked(0.05, -1), looked(0.1, 0))
    assert judged(looked(0.11, -1))


def test_one_that_somebody_tries_to_end_may_be_gone() -> None:
    assert not judged(ended(1.0, 9.0, "EngineUnavailable"), fault(1.0, 9.0), looked(1.5, -1), looked(2.0, 0))
    assert judged(ended(2.0, 9.0), looked(1.5, -1))
    assert not judged(EndedAll(HERE, 1.0, 2.0, "u", YES), looked(1.5, -1))
    assert judged(EndedAll(HERE, 1.0, 2.0, "another", YES), looked(1.5, -1))


def test_what_a_server_has_lost_may_be_gone() -> None:
    assert not judged(Emptied(-1, 1.0, 1.1), looked(1.2, -1))
    assert not judged(RolledBack(-1, 1.0, 1.1, since=0.05), looked(1.2, -1))
    assert judged(RolledBack(-1, 1.0, 1.1, since=0.2), looked(1.2, -1))
    assert judged(Emptied(-1, 1.0, 1.1), looked(0.5, -1))


def test_a_change_of_a_living_session_is_not_told_that_it_is_over() -> None:
    assert judged(changed(0.2, 0.3, NO))
    assert not judged(ended(0.15, 0.25), changed(0.2, 0.3, NO))


# Changes ---------------------------------------------------------------------------------------------


def test_every_change_that_returned_is_seen_and_none_twice() -> None:
    two = changed(0.2, 0.3), changed(0.4, 0.5)
    assert not judged(*two, looked(0.6, 2), looked(0.35, 1), looked(0.45, 1), looked(0.45, 2))
    assert judged(*two, looked(0.6, 1))
    assert judged(*two, looked(0.6, 3))
    assert judged(*two, looked(0.31, 2))  # not yet begun


def test_a_change_that_failed_may_have_been_made() -> None:
    failed = changed(0.2, 0.3, "OutcomeUnknown"), fault(0.2, 0.3)
    assert not judged(*failed, looked(0.6, 0), looked(0.6, 1))
    assert judged(*failed, looked(0.6, 2))


def test_a_change_whose_process_was_killed_may_have_been_made() -> None:
    cut = changed(0.2, 0.2, BEGUN), Killed(HERE, 0.5, 0.6)
    assert not judged(*cut, looked(0.7, 0), looked(0.7, 1))
    assert judged(*cut, looked(0.15, 1))


def test_a_caller_who_was_cancelled_has_made_a_change_or_not() -> None:
    cancelled = changed(0.2, 0.3, CANCELLED)
    assert not judged(cancelled, looked(0.6, 0), looked(0.6, 1))
    assert judged(cancelled, looked(0.6, 2))


def test_a_refused_change_was_not_made() -> None:
    assert judged(ended(0.15, 0.35), changed(0.2, 0.3, NO), looked(0.2, 1))


def test_what_a_change_returns_is_a_read_too() -> None:
    assert not judged(changed(0.2, 0.3, count=1), changed(0.4, 0.5, count=2))
    assert judged(changed(0.2, 0.3), changed(0.4, 0.5, count=1), changed(0.6, 0.7, count=2))


def test_changes_made_before_a_server_went_back_may_be_lost() -> None:
    events = changed(0.2, 0.3), changed(0.6, 0.7), RolledBack(-1, 1.0, 1.1, since=0.5), changed(1.2, 1.3)
    assert not judged(*events, looked(1.4, 2))
    assert judged(*events, looked(1.4, 1))
    assert judged(*events, looked(0.8, 1))


# Ends ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [HERE, THERE])
def test_what_has_ended_stays_ended(by: int) -> None:
    assert not judged(ended(0.2, 0.3), looked(0.25, 0, by=by), looked(0.4, -1, by=by))
    assert judged(ended(0.2, 0.3), looked(0.31, 0, by=by))
    assert judged(ended(0.2, 0.3, NO), looked(0.31, 0, by=by))
    assert not judged(ended(0.2, 0.3, "EngineUnavailable"), fault(0.2, 0.3), looked(9.0, 0, by=by))


def test_a_server_gone_back_has_it_until_its_end_is_resent() -> None:
    back = ended(0.4, 0.5), RolledBack(-1, 1.0, 1.1, since=0.3), Resent(THERE, 1.1, 1.2), Resent(HERE, 2.0, 2.1)
    assert not judged(*back, looked(1.5, 0))
    assert judged(*back, looked(2.2, 0))
    assert judged(*back, looked(1.5, 0, by=HERE)), "who ended it has sent it before it reads"
    assert judged(*back[:1], RolledBack(-1, 1.0, 1.1, since=0.6), looked(1.5, 0)), "the end was not lost"


def test_ending_all_ends_what_had_begun_before() -> None:
    assert judged(EndedAll(HERE, 0.2, 0.3, "u", YES), looked(0.4, 0))
    assert not judged(EndedAll(HERE, 0.05, 0.3, "u", YES), looked(0.4, 0)), "it began meanwhile"
    assert not judged(EndedAll(HERE, 0.2, 0.3, "u", "EngineUnavailable"), fault(0.2, 0.3), looked(0.4, 0))


def test_a_server_emptied_during_a_log_in_may_not_list_it() -> None:
    emptied, last = Emptied(-1, 0.04, 0.06), Looked(THERE, 9.0, 9.1, "s", 0, False, True)
    assert not judged(emptied, EndedAll(HERE, 0.2, 0.3, "u", YES), looked(0.4, 0))
    assert not judged(emptied, last, Listed(THERE, 9.2, 9.3, "u", []))
    assert judged(Emptied(-1, -0.2, -0.1), EndedAll(HERE, 0.2, 0.3, "u", YES), looked(0.4, 0))


def test_of_what_another_has_ended_an_end_of_all_knows_nothing() -> None:
    both = ended(0.4, 0.5, by=THERE), EndedAll(HERE, 0.5, 0.6, "u", YES), RolledBack(-1, 1.0, 1.1, since=0.3)
    resent = Resent(HERE, 1.1, 1.2)
    assert not judged(*both, resent, looked(1.5, 0, by=2), looked(1.5, 0, by=HERE))
    assert judged(*both, resent, Resent(THERE, 1.2, 1.3), looked(1.5, 0, by=2))
    assert judged(*both[1:], resent, looked(1.5, 0, by=2))


# Rotations -------------------------------------------------------------------------------------------

TAKEN = Rotated(HERE, 1.0, 1.1, "s", "t", "u", YES)


def test_a_rotation_takes_the_count_along() -> None:
    events = changed(0.2, 0.3), TAKEN, changed(1.2, 1.3, session="t")
    assert not judged(*events, looked(1.4, 2, session="t"))
    assert judged(*events, looked(1.4, 1, session="t"))
    assert judged(*events, looked(1.4, -1, session="t"))


def test_after_it_the_old_session_is_a_copy_for_a_while() -> None:
    until = 1.1 + COPY + MARGIN
    assert not judged(TAKEN, looked(1.2, 0, copy=True), looked(until, 0, copy=True), looked(1.2, -1))
    assert judged(TAKEN, looked(1.2, 0))
    assert judged(TAKEN, looked(until + 0.001, 0, copy=True))
    assert judged(TAKEN, ended(1.2, 1.3), looked(1.4, 0, copy=True)), "an end takes the copy too"


def test_of_two_rotations_one_takes_the_session() -> None:
    assert judged(TAKEN, Rotated(THERE, 1.0, 1.2, "s", "v", "u", YES))
    assert not judged(TAKEN, Rotated(THERE, 1.0, 1.2, "s", "", "u", NO))
    assert not judged(TAKEN, RolledBack(-1, 1.3, 1.4, since=0.9), Rotated(THERE, 1.5, 1.6, "s", "v", "u", YES))


def test_the_successor_of_an_unknown_rotation_has_any_count() -> None:
    unknown = changed(0.2, 0.3), Rotated(HERE, 1.0, 1.1, "s", "", "u", "OutcomeUnknown"), fault(1.0, 1.1)
    assert not judged(*unknown, looked(1.4, 1, session="t"), looked(1.4, -1))
    assert judged(*unknown, looked(1.4, 2))


# Failures --------------------------------------------------------------------------------------------


def test_a_call_that_fails_has_a_cause() -> None:
    failed = Answer(HERE, 9.0, 9.1, "read", "EngineUnavailable")
    assert judged(failed)
    assert judged(failed, fault(1.0, 9.0 - RECOVERY - 0.01))
    assert not judged(failed, fault(1.0, 9.0 - RECOVERY + 0.01))
    assert not judged(failed, fault(9.05, 9.06))
    assert judged(Answer(HERE, 9.0, 9.1, "read", "TypeError"), fault(9.0, 9.1))


def test_a_log_in_is_refused_only_where_all_are_ended() -> None:
    refused = Begun(THERE, 1.0, 1.1, "", "u", NO)
    assert judged(refused)
    assert not judged(refused, EndedAll(HERE, 1.05, 2.0, "u", YES))
    assert judged(refused, EndedAll(HERE, 1.05, 2.0, "another", YES))


# Lists and counts ------------------------------------------------------------------------------------


def test_a_user_s_list_is_what_lives() -> None:
    last = Looked(THERE, 9.0, 9.1, "s", 0, False, True)
    assert not judged(last, Listed(THERE, 9.2, 9.3, "u", ["s", "unknown"]), Listed(THERE, 9.2, 9.3, "another", []))
    assert judged(last, Listed(THERE, 9.2, 9.3, "u", []))
    over = ended(0.2, 0.3), Looked(THERE, 9.0, 9.1, "s", -1, False, True)
    assert judged(*over, Listed(THERE, 9.2, 9.3, "u", ["s"]))


def test_the_active_are_counted_exactly_where_nothing_fails() -> None:
    assert not judged(Counted(THERE, 0.2, 0.3, 1))
    assert judged(Counted(THERE, 0.2, 0.3, 0))
    assert judged(Counted(THERE, 0.2, 0.3, 2))
    assert not judged(ended(1.0, 1.1), Counted(THERE, 1.2, 1.3, 0))
    assert judged(ended(1.0, 1.1), Counted(THERE, 1.2, 1.3, 1))
    assert not judged(ended(1.0, 1.5), Counted(THERE, 1.2, 1.3, 1), Counted(THERE, 1.2, 1.3, 0))
    assert not judged(TAKEN, Counted(THERE, 1.2, 1.3, 1))


def test_a_change_of_what_has_ended_is_counted_until_it_is_refused() -> None:
    late = ended(1.0, 1.1), changed(1.05, 1.5, NO)
    assert not judged(*late, Counted(THERE, 1.2, 1.3, 1), Counted(THERE, 1.6, 1.7, 0))
    assert judged(*late, Counted(THERE, 1.6, 1.7, 1))
    assert not judged(ended(1.0, 1.1), changed(1.05, 1.5, CANCELLED), Counted(THERE, 1.6, 1.7, 1))
    assert judged(ended(1.0, 1.1), changed(0.5, 0.9, CANCELLED), Counted(THERE, 1.6, 1.7, 1))


def test_where_something_fails_too_many_may_be_counted_never_too_few() -> None:
    troubled = ended(1.0, 1.1), fault(1.0, 1.05)
    assert not judged(*troubled, Counted(THERE, 9.0, 9.1, 1))
    assert judged(*troubled, Counted(THERE, 9.0, 9.1, 2))
    assert not judged(fault(5.0, 5.1), Begun(HERE, 5.0, 5.1, "", "u", "OutcomeUnknown"), Counted(THERE, 9.0, 9.1, 2))
    assert judged(fault(5.0, 5.1), Counted(THERE, 9.0, 9.1, 0))
