"""The passwords that are guessed first: leaked ones by frequency, as the package zxcvbn keeps them."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

from greenroom.extras import needs_extra


@cache
def _common() -> frozenset[str]:
    # The one file of it that has the lists, and that file for the moment: the package would take 15 MB for good.
    with needs_extra("service", "refusing common passwords"):
        package = find_spec("zxcvbn")
        if package is None or package.origin is None:
            raise ModuleNotFoundError("No module named 'zxcvbn'", name="zxcvbn")
    spec = spec_from_file_location("frequency_lists", Path(package.origin).with_name("frequency_lists.py"))
    assert spec is not None
    assert spec.loader is not None
    lists = module_from_spec(spec)
    spec.loader.exec_module(lists)
    return frozenset(lists.FREQUENCY_LISTS["passwords"])  # in lower case


def is_common(password: str) -> bool:
    """Whether a password is among the commonest, whatever its case: 30,000, of which 11,611 are long enough here.

    Raises:
        MissingExtra: when the package with the list is not installed.
    """
    return password.lower() in _common()
