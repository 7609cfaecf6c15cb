"""What has changed between two documents of keyspaces, and what that means where old and new processes run together.

Both read what either writes. So a change of the value that either side refuses is breaking, and so is a key or group
that either side does not know: it would drop another. What both sides read, one of them with a default, is only told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from greenroom.keyspace.json_schema import ABOUT
from greenroom.keyspace.schema_labels import MAPPING, by_label, union_words
from greenroom.keyspace.schema_words import OMITS, OWN, PLACES, Schema, keys_of

_CONSTRAINTS = (
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "pattern", "format", "contentEncoding"),
    *("minItems", "maxItems", "minProperties", "maxProperties", "uniqueItems", "contentMediaType", OWN),
)
_PATTERNS, _CONTENT = "patternProperties", "contentSchema"
_JOINED = (
    "what is stored already, or by processes of before, is not in it, and stays when the group is dropped; call "
    "room.drop_keyspace when all processes are new"
)


class _Refused(NamedTuple):
    """What becomes of values that do not fit, as the end of a sentence.

    Arguments:
        each: where each side refuses what the other stores.
        passive: of values that are refused.
        them, it: after "processes of before refuse".
    """

    each: str
    passive: str
    them: str
    it: str


_ANEW = _Refused(
    "each side loads anew what the other has stored", "loaded anew", ", and load them anew", ", and load it anew"
)
_BROKEN = _Refused(
    "what one side stores is BrokenValue for the other",
    "BrokenValue for their readers",
    " with BrokenValue",
    " with BrokenValue",
)
"""Of stores and sessions: there is no loader whose value could replace one that is refused."""


class SchemaChange(NamedTuple):
    """One difference.

    Arguments:
        where: the keyspace, or its member, as `product.price.amount`.
        breaking: whether one of the two sides refuses what the other writes, or drops other keys.
    """

    where: str
    reason: str
    breaking: bool

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


def changes(old: Schema, new: Schema) -> Iterator[SchemaChange]:
    """The differences between two documents of `json_schemas`; lifetimes are not looked at."""
    about, before = new[ABOUT], old[ABOUT]
    for name, was in before["keyspaces"].items():
        now = about["keyspaces"].get(name)
        if now is None:
            yield SchemaChange(name, f"is not declared any more; its key was {was['key']}", True)
            continue
        yield from _key_changes(name, was, now)
        if was.get("version", 0) != now.get("version", 0):
            yield SchemaChange(name, "has another version: " + _ANEW.each, False)
            continue
        compared = _Compared(old.get("$defs", {}), new.get("$defs", {}), {}, now["kind"])
        yield from compared.changes(name, old["properties"].get(name, {}), new["properties"].get(name, {}))
    yield from _group_changes(before["groups"], about["groups"], before["keyspaces"])


def _key_changes(name: str, was: Schema, now: Schema) -> Iterator[SchemaChange]:
    if was["kind"] != now["kind"]:
        yield SchemaChange(name, f"is of a {now['kind']}, and was of a {was['kind']}", True)
    if was["key"] != now["key"]:
        yield SchemaChange(
            name, f"its key is {now['key']}, and was {was['key']}: each side drops its own keys only", True
        )
        return
    for part, described in was["parts"].items():
        if described != now["parts"][part]:
            yield SchemaChange(f"{name}: part {part}", f"is {now['parts'][part]}, and was {described}", True)


def _group_changes(
    before: Mapping[str, Schema], after: Mapping[str, Schema], known: Mapping[str, Schema]
) -> Iterator[SchemaChange]:
    for name, was in before.items():
        left = set(was["keyspaces"]) - set(after[name]["keyspaces"] if name in after else ())
        for keyspace in sorted(left):
            yield SchemaChange(
                keyspace, f"is not in the group {name} any more: who drops the group leaves its keys", True
            )
    for name, now in after.items():
        joined = set(now["keyspaces"]) - set(before[name]["keyspaces"] if name in before else ())
        # One that is new as a whole has nothing stored, and no processes of before.
        for keyspace in sorted(joined & known.keys()):
            yield SchemaChange(keyspace, f"is new in the group {name}: {_JOINED}", True)


class _Compared(NamedTuple):
    old: Mapping[str, Schema]
    new: Mapping[str, Schema]
    seen: dict[tuple[int, int], tuple[Schema, Schema]]
    """Pairs of schemas that are compared already, by their identities: a type may hold itself. They are held, or
    another schema could get the identity of one that is gone, and would not be compared."""
    kind: str
    """What holds the values: a cache, a store, or the sessions."""

    @property
    def refused(self) -> _Refused:
        return _ANEW if self.kind == "cache" else _BROKEN

    def changes(self, where: str, was: Any, now: Any) -> Iterator[SchemaChange]:
        words, other_words = union_words(was, self.old), union_words(now, self.new)
        if words != other_words:
            yield self._differs(where, OWN, {OWN: words}, {OWN: other_words})
        before, after = by_label(was, self.old), by_label(now, self.new)
        if before.keys() != after.keys():
            yield SchemaChange(where, _other_types(list(before), list(after), self.refused), True)
        for label in (one for one in before if one in after):
            if len(before[label]) == len(after[label]) == 1:
                yield from self._alike(where, label, before[label][0], after[label][0])
            else:
                yield from self._several(where, label, before[label], after[label])

    def _several(self, where: str, label: str, before: list[Schema], after: list[Schema]) -> Iterator[SchemaChange]:
        """The alternatives that their label alone does not tell apart: each has its equal, or one that reads it."""
        before, after = before.copy(), after.copy()
        for bearable in (False, True):
            for one in before.copy():
                for other in after:
                    # Compared for itself: what is compared with the wrong one is not done with.
                    trial = self._replace(seen=self.seen.copy())
                    found = list(trial._alike(where, label, one, other))
                    if not found or (bearable and not any(change.breaking for change in found)):
                        self.seen.update(trial.seen)
                        before.remove(one)
                        after.remove(other)
                        yield from found
                        break
        if len(before) == len(after) == 1:
            yield from self._alike(where, label, before[0], after[0])
        elif before or after:
            yield SchemaChange(where, f"has other alternatives of {label}: {self.refused.each}", True)

    def _alike(self, where: str, label: str, one: Schema, other: Schema) -> Iterator[SchemaChange]:
        """The differences of two alternatives with one label."""
        if (id(one), id(other)) in self.seen:
            return
        self.seen[id(one), id(other)] = one, other
        for word in _CONSTRAINTS:
            if one.get(word) != other.get(word):
                yield self._differs(where, word, one, other)
        if "properties" in one:
            yield from self._members(where, one, other)
        elif label == MAPPING:
            yield from self.changes(f"{where}: keys", keys_of(one), keys_of(other))
            yield from self.changes(f"{where}[...]", _more(one), _more(other))
            yield from self._patterns(where, one.get(_PATTERNS, {}), other.get(_PATTERNS, {}))
        elif label == "string":
            yield from self.changes(f"{where}: content", _schema(one.get(_CONTENT)), _schema(other.get(_CONTENT)))
        elif label == "array":
            yield from self._items(where, one, other)

    def _differs(self, where: str, word: str, was: Schema, now: Schema) -> SchemaChange:
        differ = f"{word} is {_shown(now, word)}, and was {_shown(was, word)}"
        return SchemaChange(where, f"{differ}: {self.refused.each}", True)

    def _patterns(self, where: str, was: Schema, now: Schema) -> Iterator[SchemaChange]:
        """Mappings whose keys match a pattern."""
        if was.keys() != now.keys():
            differ = f"keys match {', '.join(now) or 'no pattern'}, and matched {', '.join(was) or 'none'}"
            yield SchemaChange(where, f"{differ}: {self.refused.each}", True)
        for pattern in was.keys() & now.keys():
            yield from self.changes(f"{where}[...]", _schema(was[pattern]), _schema(now[pattern]))

    def _items(self, where: str, was: Schema, now: Schema) -> Iterator[SchemaChange]:
        first, second = was.get("prefixItems", []), now.get("prefixItems", [])
        if len(first) != len(second):
            yield SchemaChange(where, f"has {len(second)} items, and had {len(first)}: {self.refused.each}", True)
        for place, (one, other) in enumerate(zip(first, second, strict=False)):
            yield from self.changes(f"{where}[{place}]", one, other)
        yield from _places(where, was.get(PLACES, []), now.get(PLACES, []))
        yield from self.changes(f"{where}[]", _schema(was.get("items")), _schema(now.get("items")))

    def _members(self, where: str, was: Schema, now: Schema) -> Iterator[SchemaChange]:
        yield from self._more_members(where, was, now)
        before, after = was.get("properties", {}), now.get("properties", {})
        needed, needs = set(was.get("required", ())), set(now.get("required", ()))
        refused = self.refused
        for name, member in after.items():
            path = f"{where}.{name}"
            if name in before:
                yield from self._member(path, before[name], member, name in needed, name in needs, OMITS in now)
            elif name in needs:
                yield SchemaChange(
                    path, f"is new and required: values of before lack it, and are {refused.passive}", True
                )
            elif was.get("additionalProperties") is False:
                yield SchemaChange(path, "is new: processes of before refuse a member that they do not know", True)
            elif self._loses(was):
                yield SchemaChange(path, "is new: a process of before that changes a value loses it", True)
            else:
                until = " until they are dropped" if self.kind == "cache" else ""
                yield SchemaChange(path, f"is new: values of before are read with its default{until}", False)
        for name in before:
            path = f"{where}.{name}"
            if name in after:
                continue
            if name in needed:
                yield SchemaChange(path, f"is gone: processes of before refuse values without it{refused.them}", True)
            elif now.get("additionalProperties") is False:
                yield SchemaChange(path, f"is gone: values of before have it, are refused, and {refused.passive}", True)
            elif self._loses(now):
                yield SchemaChange(path, "is gone: a new process that changes a value loses it", True)
            else:
                yield SchemaChange(path, "is gone: processes of before read its default", False)

    def _loses(self, schema: Schema) -> bool:
        """Whether who does not know a member writes the value back without it; sessions keep it, and so may a model."""
        return self.kind == "store" and not schema.get("additionalProperties")

    def _more_members(self, where: str, was: Schema, now: Schema) -> Iterator[SchemaChange]:
        """Members that neither side names, where one side keeps them: there are some only then."""
        before, after = _kept(was), _kept(now)
        if before and after:
            yield from self.changes(f"{where}[...]", _more(was), _more(now))
        elif before or after:
            new, old = ("keeps", "refused" if _refuses(was) else "passed over") if after else ("", "kept")
            new = new or ("refuses" if _refuses(now) else "passes over")
            breaking = self.kind == "store" or _refuses(was) or _refuses(now)
            yield SchemaChange(where, f"{new} members that it does not name, and {old} them", breaking)

    def _member(
        self, path: str, was: Schema, now: Schema, needed: bool, needs: bool, omits: bool
    ) -> Iterator[SchemaChange]:
        yield from self.changes(path, was, now)
        if needs and not needed:
            yield SchemaChange(
                path, f"is required now: values of before may lack it, and are {self.refused.passive}", True
            )
        elif needed and not needs and (omits or "default" not in now):
            yield SchemaChange(path, "may be left out now: processes of before refuse values without it", True)
        elif not needed and was.get("default") != now.get("default"):
            yield SchemaChange(path, f"default is {_shown(now, 'default')}, and was {_shown(was, 'default')}", False)


def _places(where: str, was: list[str], now: list[str]) -> Iterator[SchemaChange]:
    """Members that are told by their place: nothing refuses one that stands where another stood."""
    if any(name in was and was.index(name) != place for place, name in enumerate(now)):
        reason = f"has the members {', '.join(now)} in that order, and had {', '.join(was)}"
        yield SchemaChange(where, f"{reason}: each side takes what the other has stored for other members", True)
        return
    for place, (one, other) in enumerate(zip(was, now, strict=False)):
        if one != other:
            reason = f"is {other}, and was {one}: each side takes the one for the other"
            yield SchemaChange(f"{where}[{place}]", reason, False)


def _other_types(before: list[str], after: list[str], refused: _Refused) -> str:
    gone, more = [one for one in before if one not in after], [one for one in after if one not in before]
    if not more:
        return f"is narrowed: values of before with {', '.join(gone)} are refused, and {refused.passive}"
    if not gone:
        return f"is widened: processes of before refuse {', '.join(more)}{refused.it}"
    return f"is {', '.join(after)}, and was {', '.join(before)}: {refused.each}"


def _kept(schema: Schema) -> bool:
    """Whether members that a type does not name are kept."""
    return schema.get("additionalProperties") not in (None, False)


def _refuses(schema: Schema) -> bool:
    return schema.get("additionalProperties") is False


def _more(schema: Schema) -> Schema:
    return _schema(schema.get("additionalProperties"))


def _schema(value: Any) -> Schema:
    return value if isinstance(value, dict) else {}


def _shown(schema: Schema, word: str) -> str:
    return msgspec.json.encode(schema[word]).decode() if word in schema else "none"
