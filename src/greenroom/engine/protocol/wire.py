"""The RESP3 protocol without a socket: commands to bytes, bytes to replies, in order.

A reply belongs to the oldest command not yet answered. Commands issued together share a hook that runs *here*, in
reply order and before any task wakes: an invalidation that follows a reply on the wire is then always handled after
what that reply stored. A value stored by the task after its `await` loses that order, and stays stale for ever when an
invalidation came in the same read.

Each reply is checked against its command's shape before a later one is looked at; what does not fit ends it all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any, Protocol

import hiredis

from greenroom.engine.commands import Command, Hook
from greenroom.engine.protocol.attributes import Attribute, ProtocolViolation, next_after_line, next_candidate
from greenroom.engine.protocol.errors import reply_error
from greenroom.engine.scripts import Call
from greenroom.engine.shapes import ANYTHING, SHAPES, Fits, Types, is_push
from greenroom.errors import EngineError

_Pending = tuple[Command, Types, Fits | None, list[Any], asyncio.Future[list[Any]] | None, Hook | None]

# hiredis answers False where data is missing, which is also RESP3's `#f`.
_NOTHING = object()

_SLICE = 16_384
"""Bytes that the parser is given at a time: after each kilobyte of replies it moves all that it was given and has not
parsed yet."""


class ReplyWatch(Protocol):
    """Told of what a server refuses, and of what it carries out while it refuses anything."""

    some: bool
    """Whether anything is refused: looked at for every reply."""

    def refused(self, command: Command, error: Exception) -> None:
        """A command was answered so."""

    def carried_out(self, command: Command, reply: Any) -> None:
        """A command was answered without an error, while something is refused."""

    def connected(self) -> None:
        """A new connection has logged in, and nothing else was sent on it yet."""


class _Nobody:
    """The watcher of a connection that nobody uses yet."""

    some = False

    def refused(self, command: Command, error: Exception) -> None:
        pass

    def carried_out(self, command: Command, reply: Any) -> None:
        pass

    def connected(self) -> None:
        pass


class Wire:
    """The state of one connection's protocol.

    Arguments:
        on_push: called with each push (a list whose first item is its kind), in order with the replies; None where no
            push is asked for: one that comes all the same is no reply to anything.
        source: what hooks are given as the connection.
    """

    __slots__ = (
        "_attribute",
        "_commands",
        "_on_push",
        "_pending",
        "_reader",
        "_source",
        "answered",
        "issued",
        "refusal",
        "watch",
    )

    def __init__(self, on_push: Callable[[Any], None] | None, source: Any = None) -> None:
        self._reader = hiredis.Reader(notEnoughData=_NOTHING, replyError=reply_error)
        self._on_push = on_push
        self._source = source
        # One entry per command: it and its shape, the batch's replies; with its last command the future and the hook.
        self._pending: deque[_Pending] = deque()
        self._commands: list[bytes] = []
        self._attribute: Attribute | None = None
        self.issued = 0
        """Commands ever issued."""
        self.answered = 0
        """Replies ever read; `issued - answered` commands are outstanding."""
        self.refusal: EngineError | None = None
        """What was read first of all, where that is an error: a server that takes no client says so and hangs up."""
        self.watch: ReplyWatch = _Nobody()
        """Told of every reply, to any caller: no way of writing is left out."""

    def issue(
        self, commands: tuple[Command, ...], future: asyncio.Future[list[Any]] | None, hook: Hook | None = None
    ) -> None:
        """Queue commands that follow one another on the wire.

        When the last is answered, the list of replies goes to the hook and then to the future, where they are given; an
        error reply is an item of the list.
        """
        replies: list[Any] = []
        last = len(commands) - 1
        for position, command in enumerate(commands):
            self._commands.append(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub takes one item
            types, fits = SHAPES.get(command[0]) or (command.script.reply if isinstance(command, Call) else ANYTHING)
            if position == last:
                self._pending.append((command, types, fits, replies, future, hook))
            else:
                self._pending.append((command, types, fits, replies, None, None))
        self.issued += last + 1

    def newest(self, number: int) -> tuple[str, ...]:
        """The names of the commands issued last, so many of them."""
        return tuple(str(command[0]) for command, *_ in islice(self._pending, len(self._pending) - number, None))

    def take(self) -> bytes:
        """Everything issued since the last take, to be written at once."""
        data = b"".join(self._commands)
        self._commands.clear()
        return data

    def feed(self, data: bytes) -> None:
        """Handle every reply and push that is complete.

        Raises:
            ProtocolViolation: on bytes that cannot be a reply to us; the connection is lost.
            Whatever a hook raises; its caller is then told by `fail`, as all others.
        """
        if self._attribute is None and b"|" not in data:
            self._parse(data)
            return
        at, end = 0, len(data)
        while at < end:
            if self._attribute is not None:
                at = self._attribute.skip(data, at)
                if self._attribute.whole:
                    self._attribute = None
                continue
            start = next_candidate(data, at)
            self._parse(data[at:start])
            at = start
            if start < end:
                if self._reader.has_data():  # in the middle of an item: it is text
                    # Prevents: a value is a million bars · each is given to the parser by itself · the loop stands
                    # still for a second.
                    at = next_after_line(data, start + 1)
                    self._parse(data[start:at])
                else:
                    self._attribute = Attribute()

    def _parse(self, data: bytes) -> None:
        for start in range(0, len(data), _SLICE):
            self._reader.feed(data, start, min(_SLICE, len(data) - start))
            self._handle()

    def _handle(self) -> None:
        """Handle what the parser has that is complete."""
        gets, oldest = self._reader.gets, self._pending.popleft
        while True:
            try:
                reply = gets()
            except Exception as error:  # besides ProtocolError a TypeError for a list as a map's key, a MemoryError …
                raise ProtocolViolation(f"it is not RESP3: {error}") from None
            if reply is _NOTHING:
                return
            if type(reply) is hiredis.PushNotification:
                self._pushed(reply)
                continue
            try:
                command, types, fits, replies, future, hook = oldest()
            except IndexError:
                if not self.issued and isinstance(reply, EngineError):  # said before the log-in could be sent
                    self.refusal = reply
                raise ProtocolViolation("nobody has asked for this") from None
            if type(reply) in types:
                misfit = fits is not None and not fits(reply, command)
                if self.watch.some and not misfit:
                    self.watch.carried_out(command, reply)
            elif isinstance(reply, EngineError):
                misfit = False
                if not self.answered:
                    self.refusal = reply
                self.watch.refused(command, reply)
            else:
                misfit = True
            if misfit:
                # Its caller is told with all others that the connection has ended.
                self._pending.appendleft((command, types, fits, replies, future, hook))
                raise ProtocolViolation(f"it is not a reply to {command[0]!r}")
            self.answered += 1
            replies.append(reply)
            if hook is not None:
                try:
                    hook(replies, self._source)
                except Exception:
                    self._pending.appendleft((command, types, fits, replies, future, None))
                    raise
            # A cancelled caller left its slot in the queue, so that the order of the others holds.
            if future is not None and not future.done():
                future.set_result(replies)

    def _pushed(self, push: list[Any]) -> None:
        if self._on_push is None or not is_push(push):
            raise ProtocolViolation("a push that was not asked for")
        self._on_push(push)

    def expire(self, issued: int, error: Exception) -> None:
        """Give the callers of the first `issued` commands an error; what answers them has its hook still."""
        for *_, future, _ in islice(self._pending, issued - self.answered):
            if future is not None and not future.done():
                future.set_exception(error)

    def fail(self, sent: Exception, unsent: Exception) -> None:
        """Give every waiting caller an error: `unsent` to commands never taken, `sent` to the others."""
        first_unsent = len(self._pending) - len(self._commands)
        for position, (*_, future, _) in enumerate(self._pending):
            if future is not None and not future.done():
                future.set_exception(sent if position < first_unsent else unsent)
        self._pending.clear()
        self._commands.clear()
