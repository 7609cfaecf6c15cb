"""The judge of time, errors and loads, on histories made by hand: each bound just kept, and just broken."""

from __future__ import annotations

from torture.bounds import BACKOFF, LATE, PROMPT, SESSION, check_bounds
from torture.checker import Violation
from torture.history import DRIVER, Drop, Event, Failed, Fault, How, Load, Read, Stood
from torture.session_history import BEGUN, YES, Answer, Changed, EndedAll, Looked
from torture.trouble import MARGIN

HERE, THERE = 0, 1


def judged(*events: Event) -> list[Violation]:
    return check_bounds(events)


def read(began: float, ended: float, how: How = "server", *others: str) -> Read:
    return Read(HERE, began, ended, "k", how, 1, others)


def load(began: float, ended: float, error: str = "", *, by: int = THERE, key: str = "k") -> Load:
    return Load(by, began, ended, key, error)


def dropped(began: float, ended: float) -> Drop:
    return Drop(HERE, began, ended, "k", 2, True, False)


def fault(began: float, ended: float) -> Fault:
    return Fault(DRIVER, began, ended, "harm")


# Time ------------------------------------------------------------------------------------------------


def test_where_all_is_well_a_read_takes_next_to_nothing() -> None:
    assert not judged(read(0.0, PROMPT - 0.01))
    assert judged(read(0.0, PROMPT + 0.01))


def test_after_a_fault_it_may_take_longer() -> None:
    assert not judged(read(0.0, LATE - 0.01), fault(0.1, 0.2))
    assert judged(read(0.0, LATE + 0.01), fault(0.1, 0.2))
    assert judged(read(10.0, 10.0 + PROMPT + 0.01), fault(0.1, 0.2)), "long ago"


def test_the_time_of_loads_that_it_meets_is_their_own() -> None:
    two = load(0.0, 2.0), load(1.0, 3.0, by=HERE)
    assert not judged(*two, read(0.0, 3.0 + PROMPT - 0.01))
    assert judged(*two, read(0.0, 3.0 + PROMPT + 0.01))
    assert judged(load(0.0, 3.0, key="another"), read(0.0, 3.0))
    assert not judged(load(0.0, 3.0, key="another"), read(0.0, 3.0, "server", "another")), "one call for both"


def test_a_load_whose_process_stands_still_is_not_waited_for() -> None:
    assert judged(load(0.0, 3.0), Stood(THERE, 0.1, 2.9), read(0.0, 3.0))
    assert not judged(load(0.0, 3.0), Stood(HERE, 0.1, 2.9), read(0.0, 3.0)), "the reader itself stood"
    assert not judged(Stood(DRIVER, 0.1, 2.9), read(0.0, 3.0)), "its way to the server stood"


def test_a_call_about_a_session_takes_half_a_second() -> None:
    for call in (Looked(HERE, 0.0, SESSION + 0.01, "s", 0), Changed(HERE, 0.0, SESSION + 0.01, "s", YES)):
        assert judged(call)
        assert not judged(call, Stood(HERE, 0.1, 0.2))
    assert not judged(Looked(HERE, 0.0, SESSION - 0.01, "s", 0))
    assert judged(Answer(HERE, 0.0, SESSION + 0.01, "read", "EngineUnavailable"))
    assert not judged(Changed(HERE, 0.0, 9.0, "s", BEGUN)), "it has not ended"
    assert not judged(EndedAll(HERE, 0.0, 9.0, "u", YES)), "many calls"


# Errors ----------------------------------------------------------------------------------------------


def test_a_read_fails_with_a_load_that_failed_a_moment_ago() -> None:
    failed = Failed(HERE, 5.0, 5.1, "k", "LoadFailed")
    assert judged(failed)
    assert judged(failed, load(4.0, 5.0))
    assert not judged(failed, load(3.0, 5.0 - BACKOFF - MARGIN, "Boom"))
    assert judged(failed, load(3.0, 5.0 - BACKOFF - MARGIN - 0.01, "Boom"))
    assert judged(failed, load(4.5, 4.9, "Boom", key="another"))
    assert not judged(Failed(HERE, 5.0, 5.1, "k", "LoadFailed", ("another",)), load(4.5, 4.9, "Boom", key="another"))


def test_one_read_in_a_hundred_may_be_refused() -> None:
    reads = [read(n, n + 0.01) for n in range(1980)]
    refused = [Failed(HERE, 5.0, 5.1, "k", "Overloaded")] * 21
    assert not judged(*reads, *refused[:20])
    assert len(judged(*reads, *refused)) == 1


def test_one_read_in_ten_may_fail_for_loads_that_failed() -> None:
    reads = [read(n, n + 0.01) for n in range(180)]
    failed = [Failed(HERE, 5.0, 5.1, "k", "LoadFailed")] * 21
    assert not judged(load(4.9, 5.0, "Boom"), *reads, *failed[:20])
    assert len(judged(load(4.9, 5.0, "Boom"), *reads, *failed)) == 1


# The record ------------------------------------------------------------------------------------------


def test_where_all_is_well_nothing_is_answered_without_the_server() -> None:
    assert judged(read(5.0, 5.1, "bypassed"))
    assert not judged(read(5.0, 5.1, "bypassed"), fault(3.0, 3.1))


def test_a_key_is_loaded_once_for_each_reason() -> None:
    one = dropped(0.9, 1.0)
    assert not judged(one, load(1.0, 1.1), load(1.2, 1.3))
    assert not judged(one, load(1.0, 1.1), load(1.1, 1.2), load(1.2, 1.3)), "one is for an earlier reason"
    assert judged(one, load(1.0, 1.1), load(1.1, 1.2), load(1.2, 1.3), load(1.3, 1.4))
    assert not judged(one, dropped(1.1, 1.15), load(1.0, 1.1), load(1.1, 1.2), load(1.2, 1.3))
    assert not judged(one, load(1.0, 1.1, "Boom"), load(1.1, 1.2), load(1.2, 1.3))
    assert not judged(one, load(1.0, 1.1), load(2.1, 2.2), load(3.2, 3.3)), "not in one moment"
    assert not judged(one, fault(0.0, 0.1), *(load(1.0, 1.1) for _ in range(9)))
