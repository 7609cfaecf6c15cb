"""The script: worth hearing, nothing twice, of bounded length, and the same each time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenroom_platform.models import Snippet
from greenroom_platform.studio import phrases
from greenroom_platform.studio.script import LINE_WORDS, Host, NothingToSay, PodcastScript, weave
from greenroom_platform.studio.stories import LONGEST_STORY, STORIES, STORY_WORDS
from tests.support.studio_samples import a_snippet, a_topic, every_sample, sample

POOLS = {name: pool for name, pool in vars(phrases).items() if name.isupper()}


def pattern(phrase: str) -> str:
    return re.sub(r"\\\{\w+\\\}", ".*", re.escape(phrase))


def said(script: PodcastScript) -> str:
    return " ".join(line.text for line in script.lines)


def handovers(script: PodcastScript) -> list[str]:
    """The phrases of the hosts' own, in their order."""
    found = []
    for line in script.lines:
        for pool in POOLS.values():
            found += [phrase for phrase in pool if re.fullmatch(pattern(phrase), line.text)]
    return found


def texts(count: int, words: int = 60) -> list[str]:
    """Texts that have no run of words in common."""
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    return [
        " ".join(f"{alphabet[text]}{alphabet[word % 26]}{alphabet[word // 26]}" for word in range(words)) + "."
        for text in range(count)
    ]


def snippets(contents: Iterable[str]) -> list[Snippet]:
    return [a_snippet(number, text, f"Title {chr(65 + number)}") for number, text in enumerate(contents)]


# Worth hearing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", every_sample())
def test_a_sample_topic_makes_a_whole_podcast(name: str) -> None:
    topic, every = sample(name)
    script = weave("p1", topic, every)
    assert 6 <= len(script.snippets) <= STORIES
    assert 700 <= script.words <= 950, "about five to six minutes"
    first, second, *_ = script.lines
    assert first.speaker is not second.speaker
    opening = " ".join(line.text for line in script.lines[:6])
    assert topic.display_name in opening
    assert {line.speaker for line in script.lines} == set(Host)
    assert script.lines[-1].text.startswith("And I'm")
    words = Counter[Host]()
    for line in script.lines:
        words[line.speaker] += len(line.text.split())
    assert min(words.values()) > 0.35 * words.total(), "both have something to say"
    # The newest first.
    newest = sorted(every, key=lambda one: one.generation_timestamp, reverse=True)
    assert script.snippets[0] == newest[0].snippet_id


def test_the_opening_names_what_is_coming_and_the_close_what_it_was() -> None:
    script = weave("p1", a_topic("Owls"), snippets(texts(4)))
    lines = [line.text for line in script.lines]
    coming = next(line for line in lines if "Title D, Title C, and Title B" in line)
    assert "four stories" in coming
    assert "Owls" in " ".join(lines[: lines.index(coming)])
    assert any("Title D" in line and "Title A" in line for line in lines[-6:])


@pytest.mark.parametrize("podcast", [f"p{number}" for number in range(20)])
def test_hosts_alternate_between_stories_and_never_in_the_same_words(podcast: str) -> None:
    topic, every = sample("ocean_science")
    script = weave(podcast, topic, every)
    used = handovers(script)
    assert all(before != after for before, after in pairwise(used))
    for pool in (phrases.REACTIONS, phrases.NEXT, phrases.ASKING, phrases.TAKING):
        dealt = [phrase for phrase in used if phrase in pool]
        assert all(before != after for before, after in pairwise(dealt))
    reactions = [line for line in script.lines if line.text in phrases.REACTIONS]
    assert len(reactions) == len(script.snippets)
    for reaction in reactions:
        before = script.lines[script.lines.index(reaction) - 1]
        assert before.speaker is not reaction.speaker, "who has listened says something"
    for asking in phrases.ASKING:
        for at, line in enumerate(script.lines):
            if re.fullmatch(pattern(asking), line.text):
                assert line.speaker.other in line.text, "a host asks the other by name"
                assert script.lines[at + 1].speaker is line.speaker.other, "and the other goes on"


def test_a_keyword_of_two_stories_in_a_row_links_them_once() -> None:
    first, second, third = texts(3)
    told = snippets([third, f"Corals are here. {second}", f"Corals are there. {first}"])
    script = weave("p1", a_topic("Ocean Science", keywords=("ocean", "corals")), told)
    links = [line.text for line in script.lines if "corals" in line.text]
    assert len([one for one in links if any(re.fullmatch(pattern(link), one) for link in phrases.STAYING)]) == 1
    assert not any(
        re.fullmatch(pattern(link), line.text)
        for link in phrases.STAYING
        for line in script.lines
        if "ocean" in line.text
    )


def test_a_long_story_is_shared_between_sentences_and_a_short_one_is_not() -> None:
    sentence = [
        " ".join(f"w{chr(97 + at)}{chr(97 + word)}" for word in range(15)).capitalize() + "." for at in range(6)
    ]
    script = weave("p1", a_topic(), snippets([" ".join(sentence)]))
    speakers = [line.speaker for wanted in sentence for line in script.lines if line.text == wanted]
    assert len(speakers) == 6
    assert len(set(speakers)) == 2
    assert sum(before is not after for before, after in pairwise(speakers)) <= 2
    short = weave("p1", a_topic(), snippets([" ".join(sentence[:3])]))
    assert len({line.speaker for line in short.lines if line.text in sentence}) == 1


# Nothing twice ---------------------------------------------------------------------------------------


def test_what_tells_the_same_is_read_once() -> None:
    text = "Mail packets from Falmouth to New York kept arriving weeks behind ordinary ships, and nobody knew why."
    nearly = text.replace("weeks", "days") + " So they asked a captain."
    other = "Bite down on a knotted string, and hold a small wooden plate at the length of your arm."
    script = weave("p1", a_topic(), snippets([text, other, nearly, text.upper()]))
    assert script.snippets == ("s3", "s1")
    assert said(script).lower().count("falmouth") == 1


def test_a_sentence_of_an_earlier_story_is_left_out() -> None:
    one, two, three = texts(3, 20)
    script = weave("p1", a_topic(), snippets([f"{three} {one}", f"{one} {two}"]))
    assert script.snippets == ("s1", "s0")
    assert said(script).count(one) == 1


# Bounds ----------------------------------------------------------------------------------------------


def test_the_newest_that_fit_are_told() -> None:
    contents = texts(20)
    assert weave("p1", a_topic(), snippets(contents)).snippets == tuple(f"s{number}" for number in range(19, 11, -1))
    contents[19] = " ".join(texts(20, 100)[19:]).replace(".", "") + " endless" * 100_000
    assert weave("p1", a_topic(), snippets(contents)).words < STORY_WORDS + 400


@pytest.mark.parametrize("text", ["", "  ", "🎉🎉", "中文", "<b></b>", "!!!"])
def test_where_nothing_can_be_read_out_there_is_no_podcast(text: str) -> None:
    with pytest.raises(NothingToSay) as raised:
        weave("p1", a_topic(), [a_snippet(1, text)])
    assert raised.value.topic_id == "a"
    with pytest.raises(NothingToSay):
        weave("p1", a_topic(), [])


def test_a_snippet_that_cannot_be_read_out_costs_the_others_nothing() -> None:
    assert weave("p1", a_topic(), snippets(["中文", texts(1)[0], "🎉"])).snippets == ("s1",)


def test_a_script_depends_on_the_podcast_and_not_on_snippet_order() -> None:
    topic, every = sample("music_sound")
    script = weave("p1", topic, every)
    assert weave("p1", topic, every[::-1]) == script
    assert weave("p2", topic, every).lines != script.lines


WORDS = ["The", "sea", "is", "deep.", "It", "5", "km", "wide", "&", "cold!", "Who", "knew?", "<b>me</b>,", "e.g.", "I;"]
TEXT = st.one_of(
    st.text(max_size=200),
    st.lists(
        st.sampled_from(WORDS),
        max_size=300,
    ).map(" ".join),
)


@given(
    name=TEXT,
    description=TEXT,
    keywords=st.lists(TEXT, max_size=4).map(tuple),
    contents=st.lists(st.tuples(TEXT, TEXT), max_size=12),
)
@settings(max_examples=60)
def test_whatever_the_texts_are_the_script_can_be_said(
    name: str, description: str, keywords: tuple[str, ...], contents: list[tuple[str, str]]
) -> None:
    given_ = [a_snippet(number, text, title) for number, (title, text) in enumerate(contents)]
    try:
        script = weave("p1", a_topic(name, description, keywords), given_)
    except NothingToSay:
        return
    assert len(script.snippets) == len(set(script.snippets)) <= STORIES
    for line in script.lines:
        assert re.fullmatch(r"[A-Za-z .,;:?!'-]+", line.text)
        assert re.search("[A-Za-z]", line.text)
        assert len(line.text.split()) <= LINE_WORDS
        assert line.pause > 0
    assert script.words <= STORY_WORDS + LONGEST_STORY + 400
    used = handovers(script)
    assert {line.speaker for line in script.lines} == set(Host)
    assert used
