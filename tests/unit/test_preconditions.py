"""What `If-Match` and `If-None-Match` of a write demand (RFC 9110, 13.1.1 and 13.1.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.errors import PreconditionFailed
from greenroom_platform.domain.precondition import ALWAYS
from greenroom_platform.http.preconditions import precondition

STORED = "0123456789abcdef01234567"
TAG = f'"{STORED}"'
TAGS = st.text("abW/, *", max_size=3).map(lambda text: f'"{text.replace(" ", "")}"')


def holds(if_match: list[str], if_none_match: list[str], version: str | None = STORED) -> bool:
    try:
        precondition(if_match, if_none_match).check_version(version)
    except PreconditionFailed:
        return False
    return True


@pytest.mark.parametrize(
    "lines",
    [
        [TAG],
        ["*"],
        [" *\t"],
        [f'"other", {TAG}'],
        [f'"other",{TAG},W/"third"'],
        [f'W/"other" ,\t{TAG}'],
        ['"other"', TAG],
        [f'"with,comma", {TAG}'],
        [f", ,{TAG} ,,"],
        ["", TAG],
    ],
)
def test_the_stored_version_is_found_in_every_form_of_a_list(lines: list[str]) -> None:
    assert holds(lines, [])
    assert not holds([], lines)


@pytest.mark.parametrize(
    "lines",
    [
        ['"other"'],
        ['"*"'],
        ['""'],
        [TAG.upper()],
        [f'"{STORED[:12]}", "{STORED[12:]}'.removesuffix('"') + '"'],
        [f'"x{STORED}"'],
        [""],
        [" "],
        [","],
    ],
)
def test_another_version_is_not_taken_for_the_stored_one(lines: list[str]) -> None:
    assert not holds(lines, [])
    assert holds([], lines)


def test_a_weak_tag_matches_only_where_the_comparison_is_weak() -> None:
    assert not holds([f"W/{TAG}"], [])
    assert not holds([], [f"W/{TAG}"])


@pytest.mark.parametrize(
    "line",
    [STORED, "'" + STORED + "'", TAG[:-1], f"{TAG} {TAG}", f"{TAG}x", f"w/{TAG}", f"{TAG}, *", "*, *", f"W/ {TAG}"],
)
def test_a_condition_that_cannot_be_read_never_holds(line: str) -> None:
    for lines in ([line], [TAG, line]):
        with pytest.raises(PreconditionFailed, match=r'If-Match: .*entity tags.*"1a2b3c"'):
            precondition(lines, [])
        with pytest.raises(PreconditionFailed, match=r"If-None-Match: .*entity tags"):
            precondition([], lines)


def test_what_is_not_stored_has_no_version() -> None:
    for lines in (["*"], [TAG], [""]):
        assert not holds(lines, [], None)
        assert holds([], lines, None)


def test_both_conditions_must_hold() -> None:
    assert holds([TAG], ['"other"'])
    assert not holds([TAG], [TAG])
    assert not holds(['"other"'], ['"third"'])


def test_without_a_header_every_version_will_do() -> None:
    assert precondition([], []) == ALWAYS
    assert holds([], [])
    assert holds([], [], None)


@given(st.lists(st.tuples(st.booleans(), TAGS), max_size=4), st.sampled_from([",", ", ", " ,", ",,"]), TAGS)
def test_a_list_holds_as_its_members_do(found: list[tuple[bool, str]], comma: str, stored: str) -> None:
    line = comma.join(("W/" if weak else "") + tag for weak, tag in found)
    version = stored.strip('"')
    assert holds([line], [], version) == any(tag == stored and not weak for weak, tag in found)
    assert holds([], [line], version) == all(tag != stored for _, tag in found)
