"""Opus packets of 20 ms from 16 kHz samples, at about 32 kbit/s (RFC 6716)."""

from __future__ import annotations

from collections.abc import Iterator

from greenroom.extras import needs_extra

RATE = 16_000
PACKET_MS = 20
_SAMPLES = RATE * PACKET_MS // 1000
_BYTES = 2 * _SAMPLES
_BITRATE = 32_000
PRE_SKIP = 312
"""Samples at 48 kHz that a player must drop at the beginning (RFC 7845, section 4.2): what the encoder looks ahead."""
_HEAD = PRE_SKIP * RATE // 48_000


class OpusEncoder:
    """Encodes one stream.

    Raises:
        MissingExtra: when the encoder is not installed.
        RuntimeError: when its library is missing, or looks ahead further than our streams can take.
    """

    def __init__(self) -> None:
        with needs_extra("studio", "encoding audio"):
            import opuslib_next
        self._encoder = opuslib_next.Encoder(RATE, 1, "audio")
        self._encoder.bitrate = _BITRATE
        # Another release of the library may look ahead less: silence makes up for it, and every stream begins alike.
        lookahead = int(self._encoder.lookahead)
        missing = _HEAD - lookahead
        if missing < 0:
            raise RuntimeError(f"libopus looks ahead {lookahead} samples, and our streams begin with {_HEAD}")
        self._pending = bytearray(2 * missing)
        self._ended = False
        self.samples = 0
        """Samples given so far: the stream's exact length."""

    def feed(self, pcm: bytes) -> Iterator[bytes]:
        """The packets that are whole with these samples."""
        self.samples += len(pcm) // 2
        self._pending += pcm
        yield from self._whole()

    def finish(self) -> tuple[list[bytes], int]:
        """The last packets, and how many samples at 48 kHz of them are padding; nothing can be fed after it."""
        self._pending += bytes(2 * _HEAD)
        padding = -len(self._pending) % _BYTES
        # What is looked ahead comes out late: as much silence must follow the last sample as was skipped at the head.
        self._pending += bytes(padding)
        return list(self._whole()), padding // 2 * 48_000 // RATE

    def _whole(self) -> Iterator[bytes]:
        while len(self._pending) >= _BYTES:
            frame = bytes(self._pending[:_BYTES])
            del self._pending[:_BYTES]
            yield self._encoder.encode(frame, _SAMPLES)
