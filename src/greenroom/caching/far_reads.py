"""A far read that needs no task: its caller is told in the socket's reader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenroom.caching.near import Entry, EntrySource
from greenroom.caching.questions import Question
from greenroom.caching.remote import RemoteTier
from greenroom.engine import Ask
from greenroom.errors import EngineUnavailable, Overloaded

Answered = Callable[[Question, Entry | None], None]
"""Told of the value, or with None that there is more to do: `RemoteTier.finish`. It must not raise."""


# docs/decisions/0118-far-reads-of-threads-need-no-task.md
def begin(remote: RemoteTier[Any], key: str, answered: Answered) -> bool:
    """Ask the server; returns whether it could be asked.

    Arguments:
        answered: called with the value in the socket's reader.
    """
    if remote.generation.pending:
        return False
    reading = _Reading(remote, answered)
    try:
        question = remote.ask(key, not remote.value_alone, reading)
    except Overloaded:
        return False  # whoever asks again hears the same
    if type(question) is not Question or question.future is None:
        return False
    reading.question = question
    question.future.add_done_callback(reading.ended)
    return True


def directly(remote: RemoteTier[Any], ask: Ask, key: str) -> Question | Entry | None:
    """Ask the server in the calling thread, of a cache that keeps nothing near.

    Returns:
        The value; the question where there is none that is fresh, for `RemoteTier.finish`; None where it was not
        asked.
    """
    question = remote.alone(key)
    if question is None:
        return None
    try:
        replies = ask(question.commands)
    except EngineUnavailable:
        return question  # asked once more, if any time is left
    if replies is None:
        return None
    entry = remote.entry_in(question, replies)
    return entry if entry is not None and question.asked < entry.fresh_until else question


class _Reading:
    """The hook of one such read."""

    __slots__ = ("_answered", "_remote", "question")

    question: Question

    def __init__(self, remote: RemoteTier[Any], answered: Answered) -> None:
        self._remote = remote
        self._answered = answered

    def __call__(self, replies: list[Any], source: EntrySource) -> None:
        question = self.question
        if question.arrival is not None:
            question.arrival(replies, source)
        entry, future = self._remote.entry_in(question, replies), question.future
        # Its deadline may have passed, so that its caller was told, and has gone on.
        if entry is not None and future is not None and not future.done():
            # What ends otherwise is told by the future, which would cost the loop another turn.
            future.remove_done_callback(self.ended)
            self._answered(question, entry)

    def ended(self, _: object) -> None:
        """The future is done, and the caller was not told."""
        self._answered(self.question, None)
