"""Answers that break off after their beginning was sent, because a part of the service failed."""

from __future__ import annotations

from greenroom.errors import EngineError, GreenroomError, RecordError, RoomClosed
from greenroom_platform.studio.recording_errors import RecordingFailed, RecordingsUnavailable

_TROUBLES = EngineError, RecordError, RecordingFailed, RecordingsUnavailable, RoomClosed


class AnswerBrokenOff(Exception):
    """The server closes the connection, so that nobody takes the answer for whole; the log has said why."""


def trouble_of(error: BaseException | None) -> GreenroomError | None:
    """The known trouble that an error of the framework stands for; None where it may be a defect."""
    if isinstance(error, BaseExceptionGroup):
        return trouble_of(error.exceptions[0]) if len(error.exceptions) == 1 else None
    if isinstance(error, _TROUBLES):
        return error
    return None if error is None else trouble_of(error.__cause__)
