"""Whether two key formats can make one key: their caches would then give each other's values."""

from __future__ import annotations

import string

from greenroom.keyspace.pattern import Pattern

_PART = frozenset(string.ascii_letters + string.digits + "._~-")
_FIRST_DIGIT = frozenset("123456789")
_SIGN = frozenset("-0")
_DIGIT = frozenset(string.digits)

_State = tuple[int, bool]
"""Which token comes next, and whether it has begun."""
_Token = tuple[frozenset[str], frozenset[str] | None]
"""What a token may begin with, and what may follow within it; None for a single character."""


def can_make_one_key(one: Pattern, other: Pattern) -> bool:
    """Whether some key belongs to both formats, whatever stands before their keys.

    The bounds of numbers and lengths are passed over: two formats that only these keep apart are taken for one.
    """
    first, second = _tokens(one), _tokens(other)
    seen: set[tuple[_State, _State]] = set()
    todo: list[tuple[_State, _State]] = [((0, False), (0, False))]
    # Both formats read one unknown key, character by character.
    while todo:
        pair = todo.pop()
        if pair in seen:
            continue
        seen.add(pair)
        mine, theirs = _steps(first, pair[0]), _steps(second, pair[1])
        if _is_end(first, pair[0]) and _is_end(second, pair[1]):
            return True
        todo += [(to, also) for to, chars in mine for also, others in theirs if not chars.isdisjoint(others)]
    return False


def _tokens(pattern: Pattern) -> list[_Token]:
    tokens: list[_Token] = []
    rest = pattern.text
    for name in pattern.names:
        literal, _, rest = rest.partition("{" + name + "}")
        tokens += [(frozenset(char), None) for char in literal]
        number = pattern.numbers.get(name)
        first = _FIRST_DIGIT if number is None or number.min > 0 else _FIRST_DIGIT | _SIGN
        tokens.append((_PART, _PART) if number is None else (first, _DIGIT))
    return tokens + [(frozenset(char), None) for char in rest]


def _steps(tokens: list[_Token], state: _State) -> list[tuple[_State, frozenset[str]]]:
    at, begun = state
    steps: list[tuple[_State, frozenset[str]]] = []
    if begun:
        more = tokens[at][1]
        assert more is not None
        steps.append((state, more))
        at += 1
    if at < len(tokens):
        begins, more = tokens[at]
        steps.append(((at + 1, False) if more is None else (at, True), begins))
    return steps


def _is_end(tokens: list[_Token], state: _State) -> bool:
    return state[0] + state[1] == len(tokens)
