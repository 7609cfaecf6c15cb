"""Whether two key formats can make one key: their caches would then give each other's values."""

from __future__ import annotations

from greenroom.keyspace.parts import Token
from greenroom.keyspace.pattern import Pattern

_State = tuple[int, bool]
"""Which token comes next, and whether it has begun."""


def can_make_one_key(one: Pattern, other: Pattern) -> bool:
    """Whether some key belongs to both formats, whatever stands before their keys.

    The bounds of numbers and the lengths of texts are passed over: two formats that only these keep apart are taken
    for one.
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


def _tokens(pattern: Pattern) -> list[Token]:
    tokens: list[Token] = []
    rest = pattern.text
    for name, part in pattern.parts.items():
        literal, _, rest = rest.partition("{" + name + "}")
        tokens += [(frozenset(char), None) for char in literal]
        tokens += part.tokens
    return tokens + [(frozenset(char), None) for char in rest]


def _steps(tokens: list[Token], state: _State) -> list[tuple[_State, frozenset[str]]]:
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


def _is_end(tokens: list[Token], state: _State) -> bool:
    return state[0] + state[1] == len(tokens)
