"""The script of a podcast: a topic's newest snippets, told by two hosts who hand over to each other.

A pure function: the same podcast id, topic and snippets make the same script, however often a worker begins again.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from greenroom.errors import GreenroomError
from greenroom_platform.models import Snippet, Topic
from greenroom_platform.studio import phrases
from greenroom_platform.studio.numbers import cardinal
from greenroom_platform.studio.phrases import Deck
from greenroom_platform.studio.stories import Story, bare, choose, count_words
from greenroom_platform.studio.text_normalization import sentences, speakable

TURN_WORDS = 60
"""Words above which a story is shared between the hosts, about 25 seconds."""
LINE_WORDS = 40
"""Words of a line, about 17 seconds: what is synthesized at once."""
_KEYWORDS = 3
_BEAT, _TURN, _STORY = 0.25, 0.4, 0.8
"""Seconds of silence after a line: within a turn, before the other host, before the next story."""


class NothingToSay(GreenroomError):
    """The topic has no snippet that a voice could read."""

    def __init__(self, topic_id: str) -> None:
        super().__init__(f"topic {topic_id!r} has no snippet that can be read out")
        self.topic_id = topic_id


class Host(StrEnum):
    """Who speaks."""

    LAURA = "Laura"
    KATE = "Kate"

    @property
    def other(self) -> Host:
        return Host.KATE if self is Host.LAURA else Host.LAURA


class Line(msgspec.Struct, frozen=True):
    """What one host says without a break, in words that a voice can say, and the seconds of silence after it.

    `snippet_id` is that of the story that it is of, if it is of one.
    """

    speaker: Host
    text: str
    pause: float = _BEAT
    snippet_id: str = ""


class PodcastScript(msgspec.Struct, frozen=True, kw_only=True):
    """A whole podcast; `snippets` are the ids of those that are in it, in their order, and `titles` theirs."""

    podcast_id: str
    title: str
    lines: tuple[Line, ...]
    snippets: tuple[str, ...]
    titles: tuple[str, ...] = ()

    @property
    def words(self) -> int:
        """Words of all lines."""
        return sum(len(line.text.split()) for line in self.lines)


def weave(podcast_id: str, topic: Topic, snippets: Iterable[Snippet]) -> PodcastScript:
    """Write the script of a podcast.

    Arguments:
        podcast_id: decides which phrases are taken.
        snippets: of the topic, in any order; the newest that fit are told, each once, and none that tells the same.

    Raises:
        NothingToSay: when nothing of the snippets can be read out.
    """
    given = {one.snippet_id: one for one in snippets}
    stories = choose(given.values())
    if not stories:
        raise NothingToSay(topic.topic_id)
    weaver = _Weaver(podcast_id, topic)
    weaver.open(stories)
    for number, story in enumerate(stories):
        weaver.tell(story, number, len(stories))
    weaver.close(stories)
    return PodcastScript(
        podcast_id=podcast_id,
        title=weaver.topic,
        lines=tuple(weaver.lines),
        snippets=tuple(story.snippet_id for story in stories),
        titles=tuple(given[story.snippet_id].title for story in stories),
    )


class _Weaver:
    """Writes line after line, and remembers who spoke last."""

    def __init__(self, podcast_id: str, topic: Topic) -> None:
        chance = random.Random(podcast_id)
        self.lines: list[Line] = []
        self.topic = speakable(topic.display_name).rstrip(" .,;:?!") or "many things"
        self._description = sentences(speakable(topic.description))[:2]
        # One that is in the topic's name is in every story, and tells nobody where to look.
        words = (speakable(keyword).rstrip(" .,;:?!") for keyword in topic.keywords)
        self._keywords = [word for word in words if bare(word) not in bare(self.topic) and 0 < count_words(word) <= 4]
        self._chance = chance
        self._decks: dict[Sequence[str], Deck] = {}
        self._first = chance.choice(list(Host))
        self._led = dict.fromkeys(Host, 0)
        self._before: Story | None = None
        self._stayed = ""
        self._telling = ""

    def open(self, stories: Sequence[Story]) -> None:
        """Who we are, what it is about, and what is coming."""
        first, second = self._first, self._first.other
        self._say(first, phrases.OPENINGS)
        self._say(second, phrases.SUBJECTS, topic=self.topic)
        for sentence in self._description:
            self._read(second, sentence)
        titles = [story.title for story in stories if story.title][:3]
        if titles:
            many = "one story" if len(stories) == 1 else f"{cardinal(str(len(stories)))} stories"
            self._say(first, phrases.COMING_UP, stories=many, titles=_listed(titles))
        self._pause(_STORY)

    def tell(self, story: Story, number: int, of: int) -> None:
        """One story, after a handover that fits."""
        lead = self._handed_over(story) if number else self._first.other
        self._led[lead] += 1
        self._telling = story.snippet_id
        if not story.title:
            self._say(lead, phrases.UNTITLED)
        else:
            kind = phrases.FIRST if number == 0 else phrases.LAST if number == of - 1 else phrases.NEXT
            self._say(lead, kind, title=story.title)
        speaker = lead
        for part in _parts(story.sentences):
            for sentence in part:
                self._read(speaker, sentence)
            speaker = speaker.other
        self._telling = ""
        self._pause(_STORY)
        self._before = story

    def close(self, stories: Sequence[Story]) -> None:
        """What it was, where there is more, and goodbye."""
        host = self.lines[-1].speaker.other
        titles = [story.title for story in stories if story.title]
        self._say(host, phrases.REACTIONS)
        if len(titles) > 1:
            self._say(host, phrases.SUMMING_UP, topic=self.topic, first=titles[0], last=titles[-1])
        else:
            self._say(host, phrases.SUMMING_UP_ONE, first=titles[0] if titles else self.topic)
        if self._keywords:
            words = self._chance.sample(self._keywords, min(_KEYWORDS, len(self._keywords)))
            self._say(host.other, phrases.READ_ON, words=_listed(words))
        self._say(host, phrases.FAREWELLS)
        self._say(host.other, phrases.GOODBYES)
        self._pause(_STORY)

    def _handed_over(self, story: Story) -> Host:
        """Whoever has listened says something, and then asks the other for the next story or tells it."""
        last = self.lines[-1].speaker
        host = last.other
        lead = min(Host, key=lambda one: (self._led[one], one is last))
        shared = self._shared_keyword(story)
        self._say(host, phrases.REACTIONS)
        if shared:
            self._say(host, phrases.STAYING, word=shared)
        if lead is last:
            self._say(host, phrases.ASKING)
        elif not shared:
            self._say(host, phrases.TAKING)
        return lead

    def _shared_keyword(self, story: Story) -> str:
        """A keyword of the topic that this story and the one before it share; not the same one twice in a row."""
        assert self._before is not None
        before, now = (bare(" ".join(one.sentences)) for one in (self._before, story))
        for keyword in self._keywords:
            word = rf"\b{re.escape(bare(keyword))}\b"
            if keyword != self._stayed and re.search(word, before) and re.search(word, now):
                self._stayed = keyword
                return keyword
        return ""

    def _say(self, host: Host, pool: Sequence[str], **parts: str) -> None:
        deck = self._decks.setdefault(pool, Deck(pool, self._chance))
        self._read(host, deck.deal().format(me=host.value, you=host.other.value, **parts))

    def _read(self, host: Host, text: str) -> None:
        if self.lines and self.lines[-1].speaker is not host and self.lines[-1].pause < _TURN:
            self._pause(_TURN)
        self.lines.extend(Line(host, piece, snippet_id=self._telling) for piece in _pieces(text))

    def _pause(self, seconds: float) -> None:
        self.lines[-1] = msgspec.structs.replace(self.lines[-1], pause=seconds)


def _parts(spoken: Sequence[str]) -> list[list[str]]:
    """A story's sentences in turns of about equal length; a short story is one turn."""
    total = sum(map(count_words, spoken))
    turns = min(len(spoken), max(1, round(total / TURN_WORDS + 0.4)))
    parts: list[list[str]] = [[]]
    said = 0
    for sentence in spoken:
        middle = said + count_words(sentence) / 2
        if parts[-1] and middle > total * len(parts) / turns:
            parts.append([])
        parts[-1].append(sentence)
        said += count_words(sentence)
    return parts


def _pieces(text: str) -> list[str]:
    """A sentence in lines that are synthesized at once: cut after a comma where there is one, else between words."""
    words = text.split()
    pieces: list[str] = []
    while len(words) > LINE_WORDS:
        commas = [at for at in range(LINE_WORDS // 3, LINE_WORDS) if words[at][-1] in ",;:"]
        cut = commas[-1] + 1 if commas else LINE_WORDS
        pieces.append(" ".join(words[:cut]))
        words = words[cut:]
    return [*pieces, " ".join(words)]


def _listed(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])}, and {names[-1]}"
