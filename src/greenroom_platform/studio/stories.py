"""Which of a topic's snippets are told: the newest that fit, each once, and none that tells what another did."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from greenroom_platform.models import Snippet
from greenroom_platform.studio.text_normalization import sentences, speakable

STORIES = 8
"""Snippets in a podcast, at most."""
STORY_WORDS = 600
"""Words of all snippets together: with what the hosts say in between, five to six minutes."""
LONGEST_STORY = 160
"""Words of one snippet; what is longer ends with the last sentence that fits."""
ALIKE = 0.5
"""Share of a text's runs of three words found in one that was chosen before, above which it tells the same."""
_TITLE_WORDS = 14


@dataclass(frozen=True, slots=True)
class Story:
    """What is told of one snippet; the title may be empty."""

    snippet_id: str
    title: str
    sentences: tuple[str, ...]


def choose(snippets: Iterable[Snippet]) -> list[Story]:
    """The stories of a podcast, the newest first; empty where nothing of the snippets can be read out."""
    chosen: list[Story] = []
    covered: set[tuple[str, ...]] = set()
    read = set[str]()
    left = STORY_WORDS
    for snippet in sorted(snippets, key=lambda one: (-one.generation_timestamp.timestamp(), one.snippet_id)):
        text = speakable(snippet.text_content)
        runs = _runs(text)
        if not runs or len(runs & covered) > ALIKE * len(runs):
            continue
        story = _story(snippet, text, read)
        words = sum(count_words(sentence) for sentence in story.sentences)
        if not words or words > left:
            continue
        chosen.append(story)
        covered |= runs
        read |= {bare(sentence) for sentence in story.sentences}
        left -= words
        if len(chosen) == STORIES:
            break
    return chosen


def _story(snippet: Snippet, text: str, read: set[str]) -> Story:
    included: list[str] = []
    words = 0
    for sentence in sentences(text):
        same = bare(sentence)
        if same in read or any(same == bare(one) for one in included):
            continue
        if not included and count_words(sentence) > LONGEST_STORY:
            sentence = " ".join(sentence.split()[:LONGEST_STORY]).rstrip(" .,;:?!") + "."
        words += count_words(sentence)
        if words > LONGEST_STORY:
            break
        included.append(sentence)
    title = " ".join(speakable(snippet.title).rstrip(" .,;:?!").split()[:_TITLE_WORDS]).rstrip(" ,;:")
    return Story(snippet.snippet_id, title, tuple(included))


def _runs(text: str) -> set[tuple[str, ...]]:
    """Its runs of three words; of a shorter text the whole of it."""
    words = bare(text).split()
    if not words:
        return set()
    return {tuple(words[at : at + 3]) for at in range(max(1, len(words) - 2))}


def bare(text: str) -> str:
    """The words of a text alone: what sounds the same is the same."""
    return " ".join(re.findall(r"[a-z]+", text.lower()))


def count_words(text: str) -> int:
    """How many words a text has."""
    return len(text.split())
