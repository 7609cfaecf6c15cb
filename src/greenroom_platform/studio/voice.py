"""Two hosts: the American and the British voice of SVOX Pico, from the `py-nanotts` wheel.

The synthesizer holds the interpreter lock for as long as a line takes: it belongs in a process of its own.
"""

from __future__ import annotations

import ctypes
import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec

from greenroom.errors import MissingExtra
from greenroom.extras import EXTRAS, needs_extra
from greenroom_platform.studio.script import Host, Line
from greenroom_platform.studio.text_normalization import LONGEST_WORD

RATE = 16_000
"""Samples a second, of two bytes, one channel."""
_VOLUME = 0.65
"""At the voices' own volume their loudest vowels are clipped."""
_WORD = re.compile(rf"([^\s]{{{LONGEST_WORD}}})(?=[^\s])")
"""The head of a word that is too long: on one of hundreds of letters the synthesizer may go on for ever."""
_M_PERTURB = -6
"""Of glibc's `mallopt`: what new memory is filled with, as the complement of a byte."""


@dataclass(frozen=True, slots=True)
class _Voice:
    name: str
    pitch: float
    speed: float


# By themselves the two have nearly the same pitch, and the British one is the slower.
_VOICES = {Host.LAURA: _Voice("en-US", 1.0, 1.0), Host.KATE: _Voice("en-GB", 0.85, 1.08)}


class NoVoice(MissingExtra):
    """The extra for making podcasts has no voice for this platform: make them on another."""

    def __init__(self, platform: str) -> None:
        super().__init__("studio", "making podcasts")
        self.msg = f"there is no voice for {platform}: run Greenroom on Linux, or in a container of it"

    def __str__(self) -> str:
        return str(self.msg)


def check_voices() -> None:
    """Whether a podcast can be made here.

    Raises:
        NoVoice: on a platform that no voice has been built for.
        MissingExtra: when the packages of the studio are not installed.
    """
    if sys.platform == "darwin":
        raise NoVoice("macOS")
    # Not imported: that takes a tenth of a second. Where one does not load, rendering fails, and logs why.
    if any(find_spec(package) is None for package in EXTRAS["studio"]):
        raise MissingExtra("studio", "making podcasts")


def zero_new_memory() -> None:
    """Have this process get its memory filled with zeros, where the C library can do that: glibc does.

    The synthesizer reads memory before it writes it. Prevents: a worker is killed · the memory of the next
    one's renderer holds something else · the same script sounds otherwise · a listener cannot go on with it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_PERTURB, 0xFF)


class Voices:
    """Says lines. The same line sounds the same each time only after `zero_new_memory`.

    Raises:
        NoVoice, MissingExtra: see `check_voices`.
    """

    def __init__(self) -> None:
        check_voices()
        with needs_extra("studio", "making podcasts"):
            from py_nanotts import NanoTTS

        self._synthesizer = NanoTTS()

    def say(self, line: Line) -> bytes:
        """The line and the silence after it, as 16-bit samples; text that cannot be said is silence alone."""
        voice = _VOICES[line.speaker]
        said = b""
        # Angle brackets are commands to the synthesizer, and a line of no letters or digits may make a noise.
        text = _WORD.sub(r"\1 ", line.text.translate({ord("<"): " ", ord(">"): " ", 0: " "}))
        if any(character.isalnum() for character in text):
            said = self._synthesizer.speak(text, voice=voice.name, speed=voice.speed, pitch=voice.pitch, volume=_VOLUME)
        return said[: len(said) // 2 * 2] + bytes(2 * round(line.pause * RATE))
