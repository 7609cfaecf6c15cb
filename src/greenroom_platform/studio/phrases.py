"""What the hosts say between the stories. Each phrase fits any story, a sad one as well."""

from __future__ import annotations

import random
from collections.abc import Sequence

OPENINGS = (
    "Hello, and welcome to the Green Room. I'm {me}.",
    "Good to have you with us in the Green Room. I'm {me}.",
    "This is the Green Room, and I'm {me}. Welcome.",
)
SUBJECTS = (
    "And I'm {me}. Today we are talking about {topic}.",
    "And I'm {me}. Our topic today is {topic}.",
    "And I'm {me}. Today it is all about {topic}.",
)
COMING_UP = (
    "We have {stories} for you. Coming up: {titles}.",
    "There are {stories} ahead of us. Among them: {titles}.",
    "We have brought {stories} along. Listen out for {titles}.",
)
FIRST = ("Let us begin with {title}.", "Our first story is called {title}.", "We start with {title}.")
NEXT = (
    "This one is called {title}.",
    "Here is one with the title {title}.",
    "My next story: {title}.",
    "I have one called {title}.",
    "The headline of this one is {title}.",
    "Now to {title}.",
)
LAST = ("Our last story today is {title}.", "One more before we go: {title}.", "We finish with {title}.")
UNTITLED = ("Here is another one.", "I have one more for you.", "Listen to this.")
REACTIONS = (
    "That one stays with you.",
    "I did not know that.",
    "There is more in that than I expected.",
    "I will be thinking about that for a while.",
    "That is quite a story.",
    "Now that is worth remembering.",
    "I had never heard it told like that.",
)
ASKING = (
    "{you}, what do you have next?",
    "Back to you, {you}.",
    "{you}, I think you have another one.",
    "Where do we go from here, {you}?",
    "What comes next, {you}?",
)
TAKING = (
    "Let me take the next one.",
    "I have one as well.",
    "That brings me to my next one.",
    "Then it is my turn.",
)
STAYING = (
    "Let us stay with {word} for a moment.",
    "There is more to say about {word}.",
    "And {word} comes up in the next one as well.",
)
SUMMING_UP = (
    "And that brings us to the end. We went from {first} to {last}.",
    "That is all for today. It began with {first}, and it ended with {last}.",
    "So that was {topic} for today, from {first} to {last}.",
)
SUMMING_UP_ONE = ("And that brings us to the end. Today it was {first}.",)
READ_ON = (
    "If you want to find out more, the words to look for are {words}.",
    "There is much more to find under {words}.",
)
FAREWELLS = ("I'm {me}. Thank you for listening.", "I'm {me}. Thanks for being with us.")
GOODBYES = ("And I'm {me}. Until next time.", "And I'm {me}. Goodbye, and take care.")


class Deck:
    """Deals phrases in a random order, none again before all have been dealt, and never the same one twice in a row."""

    def __init__(self, phrases: Sequence[str], chance: random.Random) -> None:
        self._phrases = phrases
        self._chance = chance
        self._left: list[str] = []
        self._dealt: str | None = None

    def deal(self) -> str:
        """The next phrase."""
        if not self._left:
            self._left = self._chance.sample(self._phrases, len(self._phrases))
            if self._left[-1] == self._dealt and len(self._left) > 1:
                self._left.reverse()
        self._dealt = self._left.pop()
        return self._dealt
