"""What the annotations of `Platform` name and what is imported when somebody asks for it: see `greenroom.lazy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenroom_platform.accounts import Accounts

__all__ = ["Accounts"]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from greenroom_platform import accounts  # its password hasher is of an extra

        return getattr(accounts, name)
