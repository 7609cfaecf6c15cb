"""The passwords that are guessed first: leaked ones by frequency, as the package zxcvbn keeps them."""

from __future__ import annotations

from functools import cache


@cache
def _common() -> frozenset[str]:
    # Here: its lists of names and words, which nobody needs, cost every start 60 ms.
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(FREQUENCY_LISTS["passwords"])  # in lower case


def is_common(password: str) -> bool:
    """Whether a password is among the commonest, whatever its case: 30,000, of which 11,611 are long enough here."""
    return password.lower() in _common()
