"""Written text as it is said: what a voice gets is plain words and the marks that make it pause.

The synthesizer takes `<…>` for commands, skips what it has no letters for, and spells what it does not know. So markup
goes, symbols, units and numbers become words, accents are folded, and what is left in other alphabets is left out.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable

from greenroom_platform.studio import numbers, vocabulary

LONGEST = 20_000
"""Characters of a text that are looked at; a script takes a fraction of them."""
LONGEST_WORD = 30
"""Letters of a word; what is longer is none."""

_MONTH = "|".join(vocabulary.MONTHS)


def _any(words: dict[str, str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_NUMBER = r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?"
# A number that is not the end of a name, as in `MP3` or `G7`, or the middle of another number.
_ALONE = r"(?<![A-Za-z0-9.])"


def _spoken_number(text: str) -> str:
    """A number in its written form; four digits without a comma are a year, which is as good for a count."""
    whole, point, decimals = text.replace(",", "").partition(".")
    if point:
        return f"{numbers.cardinal(whole)} point {numbers.spelled(decimals)}"
    if len(whole) == 4 and "1100" <= whole <= "2099" and "," not in text:
        return numbers.year(whole)
    return numbers.cardinal(whole)


def _with_unit(match: re.Match[str]) -> str:
    number, unit = match["number"], vocabulary.UNITS[match["unit"]]
    first, space, rest = unit.partition(" ")
    if number != "1" and first not in ("per", "hertz", "kilohertz", "megahertz", "gigahertz") and match["form"] != "-":
        if first in ("square", "cubic", "kilowatt"):
            unit += "s"
        else:
            unit = ("feet" if first == "foot" else first + "s") + space + rest
    return f"{_quantity(number)} {unit} "


def _quantity(text: str) -> str:
    """A number that counts: never a year."""
    whole, point, decimals = text.replace(",", "").partition(".")
    return numbers.cardinal(whole) + (f" point {numbers.spelled(decimals)}" if point else "")


def _money(match: re.Match[str]) -> str:
    one, many = vocabulary.CURRENCIES[match["sign"]]
    amount = match["amount"] or ""
    amount = vocabulary.AMOUNTS.get(amount.lower(), amount)
    name = one if match["number"] == "1" and not amount else many
    whole, point, hundredths = match["number"].partition(".")
    if point and len(hundredths) == 2 and not amount:
        return f"{_quantity(whole)} {name} {numbers.cardinal(str(int(hundredths)))}"
    return " ".join(part for part in (_quantity(match["number"]), amount, name) if part)


def _clock(match: re.Match[str]) -> str:
    hour, minute = numbers.cardinal(str(int(match[1]))), match[2]
    if minute == "00":
        return f"{hour} o'clock"
    return f"{hour} {'oh ' if minute < '10' else ''}{numbers.cardinal(str(int(minute)))}"


def _day(match: re.Match[str]) -> str:
    return f"the {numbers.ordinal(match[1])} of "


def _iso_date(match: re.Match[str]) -> str:
    return f"{int(match[3])} {vocabulary.MONTHS[int(match[2]) - 1]} {match[1]}"


def _site(match: re.Match[str]) -> str:
    return match["host"].rpartition("/")[2].removeprefix("www.").replace(".", " dot ")


def _strongest(match: re.Match[str]) -> str:
    return next((mark for mark in match[0] if mark in ".?!"), match[0][0])


# In this order: each works on what the ones before it left.
_RULES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), said)
    for pattern, said in (
        (r"</?[A-Za-z!?][^<>]*>", " "),
        (r"!?\[([^\[\]]*)\]\([^()\s]*\)", r"\1"),
        (r"(?P<host>\b(?:https?://|www\.)[^\s/?#<>\"']*[\w])[^\s<>\"']*(?<![.,;:!?)])", _site),
        (r"\b[\w.+-]{1,64}@[\w.-]{1,250}\w", lambda match: match[0].replace("@", " at ").replace(".", " dot ")),
        (r"(?P<host>\b(?:[\w-]{1,63}\.){1,5}(?:com|org|net|edu|gov|io|co\.uk)\b)", _site),
        (r"[*`_|\\^{}\"“”„«»]", " "),
        (rf"(?<![\w.])(?:{_any(vocabulary.ABBREVIATIONS)})(?!\w)", lambda match: vocabulary.ABBREVIATIONS[match[0]]),
        (r"\b([A-Z])\.(?=\s?[A-Z]\b\.?|\s[A-Z][a-z])", r"\1 "),
        (r"\bNo\. ?(?=[0-9])", "number "),
        (r"#(?=[0-9])", "number "),
        (r"\bc\. ?(?=[0-9])", "about "),
        (r"\b([0-9]{4})-(0[1-9]|1[0-2])-([0-2][0-9]|3[01])\b", _iso_date),
        (
            rf"\b(?:the )?([0-9]{{1,2}})(?:st|nd|rd|th)?(?: of)? (?={_MONTH})",
            lambda m: f"the {numbers.ordinal(m[1])} of ",
        ),
        (rf"\b({_MONTH}) ([0-9]{{1,2}})(?:st|nd|rd|th)?\b", lambda match: f"{match[1]} {numbers.ordinal(match[2])}"),
        (r"\b([01]?[0-9]|2[0-3]):([0-5][0-9])\b", _clock),
        (r"(?<=[0-9])\s?[–—-]\s?(?=[0-9])", " to "),
        (
            rf"(?P<sign>[$€£¥₹])\s?(?P<number>{_NUMBER})(?:\s?(?P<amount>million|billion|trillion|mn|bn|tn|[mkMK])\b)?",
            _money,
        ),
        (r"(?<![\w.])[-−](?=[0-9])", "minus "),
        (r"~(?=[0-9])", "about "),
        (rf"{_ALONE}(?P<number>{_NUMBER})(?P<form>\s?|-)(?P<unit>{_any(vocabulary.UNITS)})(?![\w])", _with_unit),
        (rf"{_ALONE}(?:{_any(vocabulary.FRACTIONS)})(?![\w/])", lambda match: vocabulary.FRACTIONS[match[0]]),
        (r"(?<=[0-9])/(?=[0-9])", " over "),
        (r"(?<=\w)/(?=\w)", " or "),
        (r"(?<![\w])'?([1-9]0|[12][0-9]{2}0)s\b", lambda match: numbers.decade(match[1])),
        (rf"{_ALONE}([0-9]{{1,15}})(?:st|nd|rd|th)\b", lambda match: numbers.ordinal(match[1])),
        (rf"(?:{_NUMBER})", lambda match: f" {_spoken_number(match[0])} "),
        (r"[\u0370-\u03ff\u1f00-\u1fff]+", lambda match: f" {vocabulary.GREEK.get(match[0], match[0])} "),
    )
)
_TIDY: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), tidy)
    for pattern, tidy in (
        (r"[^A-Za-z .,;:?!'-]+", " "),
        (rf"[A-Za-z'-]{{{LONGEST_WORD + 1},}}", " "),
        (r"(?<![A-Za-z])['-]+|['-]+(?![A-Za-z])", " "),
        (r"\s+", " "),
        (r" (?=[.,;:?!])", ""),
        (r"[.,;:?!]{2,}", _strongest),
        (r"([.,;:?!])(?=[A-Za-z])", r"\1 "),
        # Initials that only now stand beside a name.
        (r"\b([A-Z])\.(?= [A-Z](?:[a-z]|\b))", r"\1"),
    )
)


def speakable(text: str) -> str:
    """The text as a voice can say it, in one line; empty where nothing of it can be said."""
    said = html.unescape(text[:LONGEST])
    said = "".join(_plain(character) for character in unicodedata.normalize("NFC", said))
    for pattern, replacement in _RULES:
        said = pattern.sub(replacement, said)
    said = "".join(vocabulary.SYMBOLS.get(character, character) for character in said)
    said = "".join(
        character for character in unicodedata.normalize("NFKD", said) if not unicodedata.combining(character)
    )
    for pattern, tidy in _TIDY:
        said = pattern.sub(tidy, said)
    return said.strip(" ,;:").lstrip(".?! ")


def sentences(said: str) -> list[str]:
    """The sentences of a speakable text, each with its mark at the end."""
    pieces = [part.strip(" ,;:") for part in re.split(r"(?<=[.?!]) ", said)]
    return [part if part[-1] in ".?!" else part + "." for part in pieces if re.search(r"[A-Za-z]", part)]


def _plain(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))  # of any alphabet
    if "\uff01" <= character <= "\uff5e":
        return chr(ord(character) - 0xFEE0)  # the wide forms of ASCII
    return " " if category[0] == "Z" or category == "Cc" else character
