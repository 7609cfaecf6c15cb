"""A pydantic value that cannot be written is refused in pydantic's own words, with the member and without the value."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import BaseModel

from greenroom import Keyspace
from greenroom.errors import BrokenValue


class Priced(BaseModel):
    """A model whose member a program has set to something else."""

    price: int


def test_a_member_of_a_wrong_type_is_named_in_pydantic_s_words() -> None:
    keyspace = Keyspace("priced:{id}", Priced, ttl=timedelta(minutes=1))
    wrong = Priced.model_construct(price="a secret")
    with pytest.raises(BrokenValue) as caught:
        keyspace.encode("priced:1", wrong)
    text = str(caught.value)
    assert "cannot be written as JSON: Expected `int`" in text
    assert text.endswith(" - at `price`")
    assert "a secret" not in text
    assert "PydanticSerializationError" not in text
