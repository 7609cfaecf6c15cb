"""The judge of random histories, on histories made by hand: each promise just kept, and just broken."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from torture.checker import GIVEN_UP, KEPT, SILENCE, SURVEYED, Violation, check
from torture.drops import OUTBOX
from torture.history import (
    Contact,
    Crash,
    Drop,
    Failed,
    Fault,
    Final,
    Held,
    How,
    Killed,
    Read,
    Refused,
    RolledBack,
    Served,
    Stood,
    Unsettled,
    Write,
)
from torture.journal import Happening
from torture.trouble import MARGIN

LOADER = 0.5
"""Seconds that a load may take."""
WITHOUT = KEPT + LOADER + MARGIN
"""Seconds for which a value loaded without the server may be served, and the machine's own."""
PUSH = SILENCE + MARGIN
"""Seconds for which a push may be unread, and the machine's own."""
WRITER, READER = 0, 1
LATE = 0.001
EVERY: tuple[How, ...] = ("near", "joined", "server", "bypassed")


def judged(*events: Happening) -> list[Violation]:
    """What is wrong with a key that had version 1 before all, and with what else happened to it."""
    return check([Write(WRITER, -10.0, -10.0, "k", 1, True), *events], LOADER)


def changed(at: float, version: int = 2, *, present: bool = True, by: int = WRITER) -> Write:
    return Write(by, at, at, "k", version, present)


def dropped(
    began: float,
    ended: float,
    version: int = 2,
    *,
    by: int = WRITER,
    acknowledged: bool = True,
    group: bool = False,
    cancelled: bool = False,
    whole: bool = False,
) -> Drop:
    return Drop(by, began, ended, "k", version, acknowledged and not cancelled, group, cancelled, whole)


def read(at: float, version: int | None, how: How = "server", *, by: int = READER) -> Read:
    return Read(by, at, at + 0.01, "k", how, version)


CHANGE = (changed(-0.2), dropped(-0.1, 0.0))
"""Version 2, whose invalidation is called at -0.1 and returns at 0."""


@dataclass(frozen=True)
class Bound:
    """How long after the return another process may still answer with the old version."""

    how: How
    seconds: float


BOUNDS = (Bound("server", 0.0), Bound("near", PUSH), Bound("joined", PUSH), Bound("bypassed", WITHOUT))


@pytest.mark.parametrize("how", EVERY)
def test_the_new_version_is_right_at_any_time_once_it_is_written(how: How) -> None:
    assert not judged(*CHANGE, *(read(at, 2, how) for at in (-0.15, 0.0, 100.0)))


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: bound.how)
def test_the_old_version_is_right_until_the_bound_and_wrong_after_it(bound: Bound) -> None:
    assert not judged(*CHANGE, read(bound.seconds - LATE, 1, bound.how))
    (wrong,) = judged(*CHANGE, read(bound.seconds + LATE, 1, bound.how))
    assert wrong.drop == CHANGE[1]


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: bound.how)
def test_a_dropped_keyspace_counts_a_push_later_than_a_dropped_key(bound: Bound) -> None:
    events = changed(-0.2), dropped(-0.1, 0.0, whole=True)
    assert not judged(*events, read(PUSH + bound.seconds - LATE, 1, bound.how))
    assert judged(*events, read(PUSH + bound.seconds + LATE, 1, bound.how))
    assert judged(*events, read(-0.05, 1, bound.how, by=WRITER)), "in its own process from the call on"


@pytest.mark.parametrize("how", EVERY)
def test_without_an_invalidation_the_old_version_is_right_for_ever(how: How) -> None:
    assert not judged(changed(0.0), read(1000.0, 1, how))


def test_the_newest_version_counts_even_if_an_older_drop_came_later() -> None:
    events = changed(-0.3), changed(-0.2, 3), dropped(-0.1, 0.0, 3), dropped(-0.1, 0.5, 2)
    assert judged(*events, read(0.2, 2))
    assert judged(*events, read(0.7, 2))
    assert not judged(*events, read(0.2, 3))


# Pushes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["near", "joined"])
def test_what_was_heard_after_the_return_tells_that_the_push_was_read(how: How) -> None:
    assert judged(*CHANGE, Contact(READER, 0.001, 0.002), read(0.003, 1, how))
    assert not judged(*CHANGE, Contact(READER, 0.001, 0.004), read(0.003, 1, how))  # heard later
    assert not judged(*CHANGE, Contact(READER, -0.01, 0.002), read(0.003, 1, how))  # asked before
    assert not judged(*CHANGE, Contact(WRITER, 0.001, 0.002), read(0.003, 1, how))  # heard elsewhere


def test_nothing_heard_tells_anything_of_a_load_without_the_server() -> None:
    assert not judged(*CHANGE, Contact(READER, 0.001, 0.002), read(0.003, 1, "bypassed"))


# Time in which the reader did not run --------------------------------------------------------------


@pytest.mark.parametrize("bound", [one for one in BOUNDS if one.how in ("joined", "bypassed")], ids=lambda b: b.how)
def test_time_in_which_the_reader_stood_does_not_count(bound: Bound) -> None:
    stood = Stood(READER, 0.1, 3.1), Stood(READER, 3.2, 4.2)
    assert not judged(*CHANGE, *stood, read(bound.seconds + 4 - LATE, 1, bound.how))
    assert judged(*CHANGE, *stood, read(bound.seconds + 4 + LATE, 1, bound.how))
    assert judged(*CHANGE, Stood(WRITER, 0.1, 3.1), read(bound.seconds + LATE, 1, bound.how))


@pytest.mark.parametrize("how", ["near", "server"])
def test_it_counts_for_what_is_measured_when_it_is_served(how: How) -> None:
    assert judged(*CHANGE, Stood(READER, 0.1, 3.1), read(PUSH + LATE, 1, how))


# The process that invalidates ----------------------------------------------------------------------


@pytest.mark.parametrize("how", EVERY)
def test_who_invalidates_never_sees_the_old_version_from_the_call_on(how: How) -> None:
    assert not judged(*CHANGE, read(-0.1 - LATE, 1, how, by=WRITER))
    assert judged(*CHANGE, read(-0.1 + LATE, 1, how, by=WRITER))


@pytest.mark.parametrize("acknowledged", [True, False])
def test_while_the_server_refuses_writes_it_may_until_the_call_has_ended(acknowledged: bool) -> None:
    refused = changed(-0.2), dropped(-0.1, 0.0, acknowledged=acknowledged), Refused(-1, -0.05, 9.0)
    assert not judged(*refused, read(-LATE, 1, by=WRITER))
    assert judged(*refused, read(LATE, 1, by=WRITER))


@pytest.mark.parametrize("how", EVERY)
def test_nor_when_the_invalidation_raised(how: How) -> None:
    raised = dropped(-0.1, 0.0, acknowledged=False)
    assert judged(changed(-0.2), raised, read(LATE, 1, how, by=WRITER))
    assert not judged(changed(-0.2), raised, read(1000.0, 1, how))


@pytest.mark.parametrize("acknowledged", [True, False])
@pytest.mark.parametrize("how", ["near", "joined", "server"])
def test_of_a_group_s_members_it_may_until_the_call_has_ended(how: How, acknowledged: bool) -> None:
    group = changed(-0.2), dropped(-0.1, 0.0, acknowledged=acknowledged, group=True)
    assert not judged(*group, read(-LATE, 1, how, by=WRITER))
    assert judged(*group, read(LATE, 1, how, by=WRITER))


def test_a_group_does_not_know_members_loaded_without_the_server() -> None:
    group = changed(-0.2), dropped(-0.1, 0.0, group=True)
    assert not judged(*group, read(WITHOUT - LATE, 1, "bypassed", by=WRITER))
    assert judged(*group, read(WITHOUT + LATE, 1, "bypassed", by=WRITER))


# An invalidation that raised -----------------------------------------------------------------------


def test_an_invalidation_that_raised_holds_once_a_new_connection_sent_it() -> None:
    raised = changed(-0.2), dropped(-0.1, 0.5, acknowledged=False), Served(WRITER, 1.0, 1.2)
    assert not judged(*raised, read(1.2 - LATE, 1))
    assert judged(*raised, read(1.2 + LATE, 1))
    assert not judged(*raised, read(1.2 + PUSH - LATE, 1, "near"))
    assert judged(*raised, read(1.2 + PUSH + LATE, 1, "near"))


def test_a_connection_that_was_ready_before_the_call_has_carried_nothing() -> None:
    raised = changed(-0.2), dropped(-0.1, 0.5, acknowledged=False)
    assert not judged(*raised, Served(WRITER, -0.2, 0.3), read(1000.0, 1))
    assert not judged(*raised, Served(READER, 1.0, 1.2), read(1000.0, 1))


# A caller who gave up, a process that was killed ----------------------------------------------------


@pytest.mark.parametrize("group", [True, False])
def test_a_cancelled_invalidation_is_sent_all_the_same(group: bool) -> None:
    left = changed(-0.2), dropped(-0.1, 0.0, cancelled=True, group=group)
    heard = Contact(WRITER, GIVEN_UP, GIVEN_UP + 0.1)
    assert not judged(*left, heard, read(GIVEN_UP + 0.1 - LATE, 1))
    assert judged(*left, heard, read(GIVEN_UP + 0.1 + LATE, 1))
    assert not judged(*left, Contact(WRITER, GIVEN_UP - LATE, GIVEN_UP), read(1000.0, 1)), "it may be under way"
    assert judged(*left, Served(WRITER, 0.1, 0.2), read(0.3, 1))


def test_it_binds_its_own_process_from_the_call_on() -> None:
    assert judged(changed(-0.2), dropped(-0.1, 0.0, cancelled=True), read(-0.1 + LATE, 1, by=WRITER))
    group = changed(-0.2), dropped(-0.1, 0.0, cancelled=True, group=True)
    assert not judged(*group, read(LATE, 1, by=WRITER)), "who was in the group is not known yet"
    assert judged(*group, Contact(WRITER, GIVEN_UP, GIVEN_UP + 0.1), read(GIVEN_UP + 0.1 + LATE, 1, by=WRITER))


def test_what_a_killed_process_left_in_the_outbox_is_sent_by_another() -> None:
    left = Write(WRITER, -0.2, -0.1, "k", 2, True, outbox=True)
    killed = Killed(WRITER, -0.1, 0.0)
    assert not judged(left, killed, read(OUTBOX - LATE, 1))
    assert judged(left, killed, read(OUTBOX + LATE, 1))
    assert not judged(changed(-0.2), killed, read(1000.0, 1)), "it left no row"
    assert not judged(left, killed, Fault(-1, 1.0, 1.1, "harm"), read(1000.0, 1)), "more has failed"
    assert not judged(left, Killed(READER, -0.1, 0.0), read(1000.0, 1)), "it lives"


# A server with older data --------------------------------------------------------------------------

BACK = (*CHANGE, Served(WRITER, -9.0, -9.0), RolledBack(-1, 5.0, 6.0), Served(READER, 6.1, 6.2))
CURED = (*BACK, Served(WRITER, 7.0, 7.5))


@pytest.mark.parametrize("at", [5.0, 6.5, 7.5])
def test_a_restored_old_value_may_be_served_until_all_have_resent(at: float) -> None:
    assert judged(*CHANGE, read(at, 1))
    assert not judged(*CURED, read(at, 1))


def test_neither_before_nor_for_long_after() -> None:
    assert judged(*CURED, read(4.0, 1))
    assert judged(*CURED, read(7.5 + WITHOUT + LATE, 1))
    assert not judged(*BACK, read(1000.0, 1))  # one has not sent them


def test_who_invalidated_never_serves_what_a_server_has_back() -> None:
    assert judged(*CURED, read(7.6, 1, by=WRITER))
    of_a_group = changed(-0.2), dropped(-0.1, 0.0, group=True)
    assert not judged(*of_a_group, *CURED[2:], read(7.6, 1, by=WRITER))


def test_what_is_dropped_when_the_server_is_back_is_dropped() -> None:
    assert judged(*CURED, changed(6.2, 3), dropped(6.3, 6.4, 3), read(6.5, 2))
    assert not judged(*CURED, changed(5.2, 3), dropped(5.3, 6.4, 3), read(6.5, 2))


# A cluster -----------------------------------------------------------------------------------------


def judged_on_cluster(*events: Happening) -> list[Violation]:
    return check([Write(WRITER, -10.0, -10.0, "k", 1, True), *events], LOADER, cluster=True)


@pytest.mark.parametrize("how", ["near", "joined"])
def test_while_slots_move_a_push_may_come_late_unseen_by_any_reply(how: How) -> None:
    moved = *CHANGE, Unsettled(-1, -1.0, 3.0), Contact(READER, 0.1, 0.2)
    assert not judged_on_cluster(*moved, read(PUSH + SURVEYED - LATE, 1, how))
    assert judged_on_cluster(*moved, read(PUSH + SURVEYED + LATE, 1, how))
    assert judged_on_cluster(
        *CHANGE, Unsettled(-1, -9.0, -0.1 - SURVEYED), Contact(READER, 0.1, 0.2), read(0.3, 1, how)
    )
    assert judged_on_cluster(*moved, read(LATE, 1, by=WRITER))
    assert judged_on_cluster(*moved, read(LATE, 1)), "the server has no excuse"


def test_on_a_cluster_an_invalidation_that_raised_binds_its_process_only() -> None:
    raised = changed(-0.2), dropped(-0.1, 0.5, acknowledged=False), Served(WRITER, 1.0, 1.2, "another")
    assert not judged_on_cluster(*raised, read(1000.0, 1))
    assert judged_on_cluster(*raised, read(LATE, 1, by=WRITER))


def test_the_new_owner_is_told_by_a_connection_to_itself() -> None:
    back = *CHANGE, RolledBack(-1, 5.0, 6.0, "new")
    told = Served(WRITER, 6.1, 6.2, "new"), Served(READER, 6.1, 6.2, "new")
    others = Served(WRITER, 6.1, 6.2, "other"), Served(READER, 6.1, 6.2, "new")
    late = 6.2 + WITHOUT + LATE
    assert not judged_on_cluster(*back, *told, read(6.1, 1))
    assert judged_on_cluster(*back, *told, read(late, 1))
    assert not judged_on_cluster(*back, *others, read(late, 1))


def test_keys_missing_in_a_new_owner_s_group_are_dropped_by_all_resends() -> None:
    told = Served(WRITER, 7.0, 7.5, "new"), Served(READER, 6.1, 6.2, "new")
    group = changed(6.2), dropped(6.3, 6.4, group=True), RolledBack(-1, 5.0, 6.0, "new"), *told
    assert not judged_on_cluster(*group, read(7.4, 1), read(7.4, 1, by=WRITER))
    assert judged_on_cluster(*group, read(7.5 + WITHOUT + LATE, 1))


# Absences ------------------------------------------------------------------------------------------


def test_an_absence_is_as_new_as_the_newest_deletion() -> None:
    gone = changed(-0.4, 2, present=False), dropped(-0.3, -0.2, 2)
    assert not judged(*gone, read(0.0, None))
    assert judged(*gone, read(0.0, 1))
    back = (*gone, changed(-0.15, 3), dropped(-0.1, 0.0, 3))
    assert not judged(*back, read(-LATE, None))
    assert judged(*back, read(LATE, None))
    assert not judged(*back, changed(0.5, 4, present=False), read(0.6, None))


def test_an_absence_of_what_was_always_there_is_wrong() -> None:
    assert judged(read(0.0, None))
    assert judged(read(0.0, None), changed(0.1, 2, present=False))


# The rest ------------------------------------------------------------------------------------------


def test_a_version_is_not_seen_before_it_is_written() -> None:
    assert judged(read(0.0, 2))
    assert judged(read(0.0, 2), changed(0.1))
    assert not judged(read(0.0, 2), changed(0.005))  # during the read
    assert judged(changed(-0.2, present=False), read(0.0, 2))  # a deletion has no value


def test_a_read_fails_only_with_what_reads_fail_with() -> None:
    assert not judged(*(Failed(READER, 0.0, 0.1, "k", e) for e in ("LoadFailed", "LoadTimeout", "Overloaded")))
    (wrong,) = judged(Failed(READER, 0.0, 0.1, "k", "EngineUnavailable"))
    assert "EngineUnavailable" in wrong.reason


def test_an_exception_that_nobody_expects_is_wrong() -> None:
    assert judged(Crash(READER, 0.0, 0.0, "boom"))


def test_when_all_is_quiet_everything_stored_is_what_the_record_holds() -> None:
    def final(version: int | None) -> Final:
        return Final(READER, 9.0, 9.0, "k", "the server", version)

    assert not judged(changed(0.0), final(2))
    assert judged(changed(0.0), final(1))  # no invalidation has returned: it is stored for ever all the same
    assert judged(changed(0.0), final(None))
    assert not judged(changed(0.0, present=False), final(None))
    assert judged(changed(0.0, present=False), final(2))


def test_the_record_itself_says_what_it_holds_in_the_end() -> None:
    # Who was killed had told of version 3, and not written it.
    killed = changed(0.0), changed(0.1, 3, present=False), Held(-1, 9.0, 9.0, "k", 2)
    assert not judged(*killed, Final(READER, 9.0, 9.0, "k", "the server", 2))
    assert judged(*killed, Final(READER, 9.0, 9.0, "k", "the server", None))
    assert judged(*killed, Final(READER, 9.0, 9.0, "k", "the server", 1))
