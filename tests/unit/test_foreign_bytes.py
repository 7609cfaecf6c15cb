"""Which texts can be keys of ours."""

from __future__ import annotations

import pytest

from greenroom.keyspace.derived_keys import is_key


@pytest.mark.parametrize("text", ["e:{", "lease:{e:1}", "absent:{e:1}", "greenroom:life:{s:1}", "", "a\nb"])
def test_a_companion_or_half_a_key_is_no_key(text: str) -> None:
    assert is_key("cache:topic:x", "")
    assert not is_key(text, "")


@pytest.mark.parametrize("text", ["e:1", "p:", "p:lease:{p:e:1}"])
def test_a_key_carries_the_prefix(text: str) -> None:
    assert is_key("p:e:1", "p:")
    assert not is_key(text, "p:")
