"""What a caller may do about an error: correct the input, try again, look at the data, or give up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_OF_DATA = re.compile(r"not an integer|not a valid float|would overflow|exceeds maximum|attempt to \w+ ")


class GreenroomError(Exception):
    """The root of every error that this library raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the message and the members, not the arguments of `__init__`.

        Prevents: a process of a pool raises an error whose arguments are others than its message · the parent cannot
        make it again, and waits for the result for ever.
        """
        return _made_again, (type(self), self.args, vars(self))


def _made_again(kind: type[GreenroomError], args: tuple[Any, ...], members: dict[str, Any]) -> GreenroomError:
    error = kind.__new__(kind, *args)
    vars(error).update(members)
    return error


class InvalidInput(GreenroomError, ValueError):
    """A value that can never be right: correct it, do not retry.

    Arguments:
        field: the name of the argument, setting, key part or JSON member that is wrong.
        reason: what is wrong with it.
        remedy: what would be accepted.
    """

    def __init__(self, field: str, reason: str, remedy: str) -> None:
        super().__init__(f"{field}: {reason}; {remedy}")
        self.field = field
        self.reason = reason
        self.remedy = remedy


class WrongParts(InvalidInput, TypeError):
    """The given parts are not those of the key; also a TypeError, as for the arguments of a function."""

    def __init__(self, pattern: str, names: Sequence[str], given: str) -> None:
        remedy = "give each of them once, by position in that order or by keyword" if names else "give none"
        super().__init__("parts", f"{pattern} takes the parts {', '.join(names) or 'no part'}; given: {given}", remedy)


class MissingExtra(GreenroomError, ImportError):
    """An optional part of Greenroom is used whose packages are not installed."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the extra '{extra}': pip install 'greenroom[{extra}]'")
        self.extra = extra


class RoomClosed(GreenroomError):
    """The room was closed: it and its parts answer only inside the block of `async with room`."""

    def __init__(self, message: str = "the room is closed: use it inside the block of `async with room`") -> None:
        super().__init__(message)


class RoomNotOpen(RoomClosed):
    """The room has not been opened yet."""

    def __init__(self) -> None:
        super().__init__("the room is not open yet: enter it with `async with room`, as in the application's lifespan")


class RoomElsewhere(GreenroomError):
    """The room was opened in another event loop, or in the process from which this one was forked."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}: {remedy}")


class EngineError(GreenroomError):
    """The key-value server, or the way to it, failed."""


class EngineUnavailable(EngineError):
    """The server cannot be reached or did not answer in time, and nothing was changed: retry later."""


class OutcomeUnknown(EngineError):
    """The connection was lost after a write was sent: it may or may not have been applied.

    Raised only for writes whose repetition could differ; read the key back before doing it again.
    """


class Overloaded(EngineError):
    """Too much work is outstanding. The server is not down, and may have the value: slow down, then retry."""


class EngineRefused(EngineError):
    """The server refuses this client for good (wrong password, missing permission), or its certificate is invalid.

    Change the configuration.
    """


class CommandFailed(EngineError):
    """The server answered a command with an error; `code` is its first word, as `WRONGTYPE`."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = message.split(" ", 1)[0]

    @property
    def of_another_type(self) -> bool:
        """Whether another program has stored a value of another type under the key."""
        return self.code == "WRONGTYPE"

    @property
    def of_data(self) -> bool:
        """Whether the data at the command's own keys does not fit it: this says nothing about other keys."""
        return self.of_another_type or (self.code == "ERR" and _OF_DATA.search(str(self)) is not None)


class OutOfMemory(CommandFailed):
    """The server has reached `maxmemory` and refuses writes; reads go on."""


class BrokenValue(GreenroomError):
    """Stored JSON does not fit its keyspace's schema. Carries the key and the reason, never the value."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"the value of {key} does not fit its schema: {reason}")
        self.key = key
        self.reason = reason


class OtherVersionValue(BrokenValue):
    """Stored JSON is of another version of its keyspace, as while a new version is deployed."""


class LoadFailed(GreenroomError):
    """A loader failed; `kind` is the name of its exception's type, and the text of it stays in the log."""

    def __init__(self, key: str, kind: str) -> None:
        super().__init__(f"loading {key} failed: {kind}")
        self.key = key
        self.kind = kind


class LoadTimeout(LoadFailed):
    """A loader did not end within its deadline and was cancelled."""

    def __init__(self, key: str, seconds: float) -> None:
        super().__init__(key, "TimeoutError")
        self.seconds = seconds


class RecordError(GreenroomError):
    """The system of record refused or failed."""


class RecordUnavailable(RecordError):
    """The system of record cannot be reached, cannot be written or is busy beyond its deadline: retry later.

    Arguments:
        answer: what the database said, where strangers may read it: without a path, an address or a value.
    """

    def __init__(self, message: str, *, answer: str = "") -> None:
        super().__init__(message)
        self.answer = answer


class RecordOutcomeUnknown(RecordError):
    """The connection was lost while a change was being made: it may or may not be stored, as a whole.

    Read it back before you do it again.

    Arguments:
        result: what the write would have returned; whatever it made stale is to be dropped all the same.
    """

    def __init__(self, message: str, *, result: object = None) -> None:
        super().__init__(message)
        self.result = result


class BrokenDocument(RecordError):
    """A document of the record, of another program's making, does not fit its type: correct it in the database.

    Arguments:
        kind: what it should be, as `user`.
        id_: its id, as Python writes it.
        others: further ones that stopped the same call.
    """

    def __init__(self, kind: str, id_: str, reason: str, *, others: Sequence[BrokenDocument] = ()) -> None:
        super().__init__(f"the {kind} {id_} does not fit its type: {reason}")
        self.kind = kind
        self.id = id_
        self.reason = reason
        self.others = tuple(others)


class Conflict(RecordError):
    """The change contradicts what the record holds, as deleting what other objects name."""


class PreconditionFailed(RecordError):
    """The caller's condition does not hold of what is stored, and nothing was changed: read it again, then decide."""


class QueueFull(RecordError):
    """The queue of tasks is full: retry later."""


class KeyReused(RecordError):
    """An idempotency key that was used lately for another request: use a new one for each."""


class ClaimLost(RecordError):
    """The task has ended, or its claim was given back or lapsed and was taken by another: stop working on it."""


class UnknownReference(RecordError):
    """The change names something that the record does not hold; `field` is the member that names it."""

    def __init__(self, field: str, value: str) -> None:
        super().__init__(f"{field} {value!r} does not exist")
        self.field = field
        self.value = value
