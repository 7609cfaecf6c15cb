"""Written text as it is said: symbols, numbers, markup, other alphabets, and whatever else comes."""

from __future__ import annotations

import re
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom_platform.studio import numbers
from greenroom_platform.studio.text_normalization import LONGEST, sentences, speakable

SAID = set(string.ascii_letters + " .,;:?!'-")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("12 % of 1,300 people", "twelve per cent of one thousand three hundred people"),
        ("salt & pepper", "salt and pepper"),
        (
            "$5 million, $1, £2.50 and €1,000",
            "five million dollars, one dollar, two pounds fifty and one thousand euros",
        ),
        ("$3bn", "three billion dollars"),
        (
            "-5 °C, 40° and 98.6°F",
            "minus five degrees Celsius, forty degrees and ninety-eight point six degrees Fahrenheit",
        ),
        (
            "120 km/h over 1 km, 5 m and 10 ft",
            "one hundred and twenty kilometres per hour over one kilometre, five metres and ten feet",
        ),
        ("3 m² at 440 Hz", "three square metres at four hundred and forty hertz"),
        ("a 1.8-kilogram machine", "a one point eight kilogram machine"),
        ("e.g. this, i.e. that, etc.", "for example this, that is that, and so on"),
        ("Dr. Who vs. Mrs. Smith", "Doctor Who versus Missus Smith"),
        ("J. S. Bach in the U.S. Navy", "J S Bach in the U S Navy"),
        ("No. 5, #3, c. 1490, ~20", "number five, number three, about fourteen ninety, about twenty"),
        (
            "in 1954, 2004, 2021, 1905 and 1900",
            "in nineteen fifty-four, two thousand and four, twenty twenty-one, nineteen oh five and nineteen hundred",
        ),
        ("the mid-1970s, 1850s and '90s", "the mid-nineteen seventies, eighteen fifties and nineties"),
        (
            "on 12 April 1961, May 3rd, 2024-05-06",
            "on the twelfth of April nineteen sixty-one, May third, the sixth of May twenty twenty-four",
        ),
        ("the 15th of January", "the fifteenth of January"),
        ("the 26th, 1st and 12th", "the twenty-sixth, first and twelfth"),
        ("1939–1945, pages 10-20", "nineteen thirty-nine to nineteen forty-five, pages ten to twenty"),
        ("at 10:30, 9:05 and 12:00", "at ten thirty, nine oh five and twelve o'clock"),
        ("1/2 and 3/8, 24/7, and/or", "one half and three over eight, around the clock, or"),
        (
            "TR-808, MP3 and uranium-238",
            "TR eight hundred and eight, MP three and uranium two hundred and thirty-eight",
        ),
        ("agent 007", "agent zero zero seven"),
        ("2 + 2 = 4", "two plus two equals four"),
        ("5 < 6 > 4", "five less than six more than four"),
        ("see https://www.example.org/a/b?c=d#e.", "see example dot org."),
        ("see (http://example.org/x)!", "see, example dot org!"),
        (
            "write to me@example.org or read example.com/more",
            "write to me at example dot org or read example dot com or more",
        ),
        ("<b>bold</b> &amp; <a href='x'>linked</a><!-- no -->", "bold and linked"),
        ("&lt;speed level=&quot;500&quot;&gt;fast", "fast"),
        ("[a link](http://example.org) in **Markdown** `code`", "a link in Markdown code"),
        ("Galápagos, d'Hérelle, Böttger, Tromsø, ʻOumuamua", "Galapagos, d'Herelle, Bottger, Tromso, Oumuamua"),
        ("the α-particle by Σωκράτης", "the alpha particle by"),
        ("Привет 中文 🎉 hello\x00\x1b there", "hello there"),
        ("١٢٣ and ５％", "one hundred and twenty-three and five per cent"),
        ("“Quoted” — and ‘quoted’… done", "Quoted, and quoted, done"),
        ("students' film, rock 'n' roll", "students film, rock n roll"),
        ("what?! no...", "what? no."),
        ("a (b) c [d]", "a, b, c, d"),
        (f"a {'x' * 60} b", "a b"),
        ("1" * 40, "a very long number"),
        ("\ud800", ""),
        ("...", ""),
        ("", ""),
    ],
)
def test_it_is_said(written: str, said: str) -> None:
    assert speakable(written) == said


@given(st.text(max_size=400))
def test_whatever_comes_only_what_a_voice_can_say_is_left(written: str) -> None:
    said = speakable(written)
    assert set(said) <= SAID
    assert said == said.strip()
    assert "  " not in said
    assert said == "" or re.search("[A-Za-z]", said)
    assert speakable(said) == said


PIECES = [
    *("<b>", "</b>", "<", ">", "&", "&lt;", "1,0", "3", "°C", " ", ".", "$", "a", "http://", "é", "-", "'", "/", "s"),
    *("m", ":"),
]
MARKED = st.lists(st.sampled_from(PIECES), max_size=40)


@given(MARKED.map("".join))
def test_of_markup_and_symbols_nothing_is_left(written: str) -> None:
    assert set(speakable(written)) <= SAID


@pytest.mark.parametrize(
    "part", ["<a", ",", "http://", "a.", "1,", "x", "[a](", "A. ", "'", "1", "a@", "<!--", "&", "&lt;", "- "]
)
def test_no_text_takes_long(part: str) -> None:
    # Were an expression quadratic in the length of the text, this would take minutes: the bound is no measurement.
    began = time.process_time()
    speakable(part * LONGEST)
    assert time.process_time() - began < 5


def test_sentences_end_with_a_mark_and_say_something() -> None:
    text = speakable("One. Two? Dr. Three! e.g. four... - . and 5.5 of it")
    assert sentences(text) == ["One.", "Two?", "Doctor Three!", "for example four.", "and five point five of it."]
    assert sentences("") == []


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (20, "twenty"),
        (99, "ninety-nine"),
        (100, "one hundred"),
        (101, "one hundred and one"),
        (999, "nine hundred and ninety-nine"),
        (1000, "one thousand"),
        (1001, "one thousand and one"),
        (1234567, "one million two hundred and thirty-four thousand five hundred and sixty-seven"),
        (10**12, "one trillion"),
    ],
)
def test_whole_numbers(number: int, words: str) -> None:
    assert numbers.cardinal(str(number)) == words


@given(st.integers(0, 10**15 - 1))
def test_two_numbers_are_not_said_alike(number: int) -> None:
    assert numbers.cardinal(str(number)) != numbers.cardinal(str(number + 1))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (1, "first"),
        (9, "ninth"),
        (12, "twelfth"),
        (20, "twentieth"),
        (21, "twenty-first"),
        (100, "one hundredth"),
        (1000, "one thousandth"),
    ],
)
def test_ordinals(number: int, words: str) -> None:
    assert numbers.ordinal(str(number)) == words
