"""Answers that break off after their beginning was sent, because a part of the service failed."""

from __future__ import annotations

from greenroom.errors import GreenroomError


class AnswerBrokenOff(Exception):
    """The server closes the connection, so that nobody takes the answer for whole; the log has said why."""


def trouble_of(error: BaseException | None) -> GreenroomError | None:
    """The known trouble that an error of the framework stands for; None where it may be a defect."""
    if isinstance(error, BaseExceptionGroup):
        return trouble_of(error.exceptions[0]) if len(error.exceptions) == 1 else None
    if error is None or isinstance(error, GreenroomError):
        return error
    return trouble_of(error.__cause__)
