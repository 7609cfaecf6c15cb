"""Patience of tests that overlaps: what one test was given is not the next one's."""

from __future__ import annotations

import pytest

from greenroom.engine import Engine
from tests.support.patience import be_patient, harm
from tests.support.patience import patience_until_harm as patience_until_harm


def is_patient() -> bool:
    return bool(vars(Engine)["call_budget"] == 60.0)


def test_nobody_stays_patient_after_a_test_that_was_and_did_harm() -> None:
    with pytest.MonkeyPatch.context() as patch:
        be_patient(patch)
        harm()
        assert is_patient(), "the test has said so itself"
    assert not is_patient()


def test_until_harm_calls_have_as_long_as_they_need() -> None:
    assert is_patient()
    harm()
    assert not is_patient()
