"""What goes wrong with the store of recordings: what callers are told, made of what the client says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from greenroom.errors import GreenroomError

T = TypeVar("T")

_PASSING = (408, 409, 412, 429)
"""Answers that the same request need not get again."""
_PASSING_CODES = ("RequestTimeout", "OperationAborted")
"""What S3 calls some of those, with whatever status."""


class RecordingsUnavailable(GreenroomError):
    """The store of recordings does not answer, or not in time; what was asked of it may be asked again."""


class RecordingFailed(GreenroomError):
    """A recording could not be written or read, as on a full disk; nothing of it stands for a whole one."""


class ObjectExists(Exception):
    """There is an object of that name already, or one is being put."""


class ClientPanicked(Exception):
    """The client, which is not written in Python, has broken off, as on an address that it cannot read."""


@contextmanager
def translated_errors(place: str) -> Iterator[None]:
    """Errors of obstore as ours; an object that is not found passes through, and is the caller's to tell."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError:
        raise
    except TimeoutError:
        raise RecordingsUnavailable(f"{place} did not answer in time") from None
    except (BaseError, OSError, ClientPanicked) as error:
        # Without its cause, which a log would show with the credentials of the endpoint.
        raise RecordingsUnavailable(f"{place} cannot be used: {shown(error)}") from None


def shown(error: Exception) -> str:
    """An error's first line and its code, without credentials in its addresses; the rest is the client's inside."""
    line = re.sub(r"//[^/\s]*@", "//", str(error).partition("\n")[0])[:300]
    code = code_of(error)
    return line if code is None or code in line else f"{line} ({code})"


def code_of(error: Exception) -> str | None:
    """What S3 calls an error; None where it does not say."""
    found = re.search(r"<Code>(\w+)</Code>|\b(AccessDenied)\b", str(error))
    return found and (found[1] or found[2])


def is_wrong_setting(error: Exception) -> bool:
    """Whether the store has answered that a request cannot be, as with a bucket's name that no bucket can have."""
    if "redirect without LOCATION" in str(error):
        return True  # the bucket is elsewhere
    status = re.search(r"status code: (\d{3})\b", str(error))
    if status is None or code_of(error) in _PASSING_CODES:
        return False
    return 300 <= int(status[1]) < 500 and int(status[1]) not in _PASSING


def without_panic(call: Callable[[], T]) -> T:
    """Call the client; raises `ClientPanicked` where it breaks off."""
    try:
        return call()
    except BaseException as error:
        # It is no Exception, and has no name that can be imported.
        if type(error).__name__ == "PanicException":
            raise ClientPanicked(str(error).partition("\n")[0]) from None
        raise
