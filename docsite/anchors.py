"""The anchor of a heading, as the forge makes it: one link leads to the same place in both."""

from __future__ import annotations

import re


def anchor(heading: str, separator: str = "-") -> str:
    """The words in lower case, with a separator for each space; what is neither letter nor digit is left out."""
    return re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", separator)
