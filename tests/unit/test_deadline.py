"""One deadline for several calls, with time between them free."""

from __future__ import annotations

import pytest

from greenroom.engine import deadline as module
from greenroom.engine.deadline import TimeBudget


class Time:
    """The clock of the engine, in the test's hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(module, "monotonic", time)
    return time


def test_each_call_has_what_the_calls_before_it_have_left(time: Time) -> None:
    budget, deadlines = TimeBudget(0.5), list[float]()
    for _ in range(2):
        with budget.spending() as deadline:
            deadlines.append(deadline)
            time.now += 0.2
        time.now += 4.8  # a load
    assert deadlines == pytest.approx([100.5, 105.3])
    assert budget.left == pytest.approx(0.1)


def test_a_call_that_fails_has_spent_its_time_too(time: Time) -> None:
    budget = TimeBudget(0.5)

    def fail() -> None:
        with budget.spending():
            time.now += 0.2
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert budget.left == pytest.approx(0.3)


def test_what_is_overspent_leaves_nothing_and_the_next_call_is_due_at_once(time: Time) -> None:
    budget = TimeBudget(0.5)
    with budget.spending():
        time.now += 2.0
    assert budget.left == 0.0
    with budget.spending() as deadline:
        assert deadline == 102.0
