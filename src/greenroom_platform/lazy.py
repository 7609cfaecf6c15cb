"""What the annotations of `Platform` name and what is imported when somebody asks for it: see `greenroom.lazy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenroom.late_imports import names_of

if TYPE_CHECKING:
    from greenroom_platform.accounts import Accounts

__all__ = ["Accounts"]


if not TYPE_CHECKING:
    __getattr__ = names_of(__name__, {"Accounts": "greenroom_platform.accounts"})  # its password hasher is of an extra
