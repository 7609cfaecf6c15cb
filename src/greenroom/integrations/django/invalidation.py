"""`invalidates`: what a save or a deletion makes stale is written in its transaction, and dropped when that commits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any, NamedTuple

from django.core.exceptions import ObjectDoesNotExist
from django.db import connections, models
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save
from django.dispatch import Signal

from greenroom.argument_types import function, instance, type_name
from greenroom.caching.releases import LIFE
from greenroom.errors import InvalidInput, WrongParts
from greenroom.integrations.django import outbox
from greenroom.keyspace import Keyspace
from greenroom.keyspace.keyspace import group_pattern

log = logging.getLogger("greenroom.django")

Parts = Mapping[str, object] | Iterable[Mapping[str, object]] | None

_PARTS = "return a dict of the key's parts, a list of such dicts, or None for nothing"
_BEFORE = "_greenroom_before"


class StaleKey(NamedTuple):
    """Something that a change makes stale, as it stands in the outbox."""

    key: str
    is_group: bool
    lifetime_ms: int


def invalidates(
    model: type[models.Model],
    keyspace: Keyspace[Any],
    parts: Callable[[Any], Parts],
    *,
    group: str | None = None,
    parts_change: bool = True,
) -> None:
    """Drop a cached value whenever a row of a model is saved or deleted.

    `invalidates(Episode, EPISODE, lambda episode: {"show": episode.show, "number": episode.number})`.
    The drop is written in the transaction of the change, and sent when that commits. What a process could not send,
    since it has died or the server was away, the others send: see `GREENROOM["OUTBOX_EVERY"]`. `bulk_create`,
    `bulk_update`, `QuerySet.update` and SQL send no signals, and are not seen: use `room().changing(…)` around them.

    Arguments:
        model: the class whose objects are saved; a proxy or child class is declared by itself.
        keyspace: of the cache; another process may have declared it.
        parts: the key's parts for an object, several of them in a list, or None.
        group: drops this group of the keyspace instead of one key; `parts` are then the group's.
        parts_change: whether a change may alter the parts. Each save then reads the row first, since the value under
            the old parts is stale too; in a transaction it locks the row by that.

    Raises:
        InvalidInput: naming the argument that is wrong.
    """
    if not (isinstance(model, type) and issubclass(model, models.Model)):
        raise InvalidInput("model", f"is {type_name(model)}, not a model", "give the class of the objects")
    instance("keyspace", keyspace, Keyspace, "give the Keyspace that the cache is declared with")
    function("parts", parts, "give a function of an object, as lambda episode: {'number': episode.number}")
    _Invalidation(model, keyspace, parts, group, parts_change).connect()


class _Invalidation:
    def __init__(
        self,
        model: type[models.Model],
        keyspace: Keyspace[Any],
        parts: Callable[[Any], Parts],
        group: str | None,
        parts_change: bool,
    ) -> None:
        self._model = model
        self._pattern = keyspace.pattern if group is None else group_pattern(group, keyspace)
        self._is_group = group is not None
        self._lifetime_ms = keyspace.lifetime.ttl_ms + int(LIFE * 1000)
        self._parts = parts
        self._parts_change = parts_change

    def connect(self) -> None:
        # Held by the signals alone: not weakly.
        pre_save.connect(self._before, sender=self._model, weak=False)
        pre_delete.connect(self._before, sender=self._model, weak=False)
        post_save.connect(self._after, sender=self._model, weak=False)
        post_delete.connect(self._after, sender=self._model, weak=False)

    def _before(self, instance: Any, using: str, signal: Signal, raw: bool = False, **_: object) -> None:
        """Note what the row makes stale as it is in the database.

        One note for each save, on top of those that are under way. Prevents: a save has changed the row · before
        `_after`, another receiver saves the object again, whose row has the new parts · its note takes the place of the
        first · the value under the old parts stays.
        """
        if not self._parts_change:
            return
        is_there = instance._is_pk_set() and not _is_inserted(instance, raw=raw)
        row = self._held_row(instance, using, deleted=signal is pre_delete) if is_there else None
        note = [] if row is None else self._stale_row(row, raw=raw)
        instance.__dict__.setdefault(_BEFORE, {}).setdefault(id(self), []).append(note)

    def _after(self, instance: Any, using: str, raw: bool = False, **_: object) -> None:
        """Write down what is stale, in the transaction.

        Of all notes, since that of a save that has failed may lie above ours; then one goes. Prevents: a save within
        ours writes our note down, and takes it away · its savepoint is rolled back, and what it wrote with it.
        """
        noted = instance.__dict__.get(_BEFORE, {})
        notes = noted.get(id(self), [])
        stale = set(chain.from_iterable(notes))
        if notes:
            notes.pop()
        if not notes:
            noted.pop(id(self), None)
        if not noted:
            instance.__dict__.pop(_BEFORE, None)
        stale.update(self._stale(instance, raw=raw))
        if stale:
            outbox.enter(stale, using)

    def _stale(self, instance: Any, *, raw: bool) -> list[StaleKey]:
        """What an object makes stale, as it was given to `save`."""
        each = self._parts_of(instance, raw=raw)
        try:
            return self._keys(each)
        except WrongParts:
            raise
        except InvalidInput:
            # Django saves what is equal in the database: "7" in a column of numbers, `F("number") + 1`.
            row = self._row(instance, instance._state.db)
            return [] if row is None else self._stale_row(row, raw=raw)

    def _stale_row(self, row: Any, *, raw: bool) -> list[StaleKey]:
        """What a row makes stale, as it is in the database.

        Prevents: a row has parts that make no key · whoever saves it, mends it or deletes it gets an error.
        """
        each = self._parts_of(row, raw=raw)
        try:
            return self._keys(each)
        except WrongParts:
            raise
        except InvalidInput as error:
            log.warning("nothing is cached under the parts of %r, and nothing dropped: %s", row, error)
            return []

    def _held_row(self, instance: Any, using: str, *, deleted: bool) -> Any:
        """The row, which nobody else changes before this transaction ends, where the database can see to that.

        Prevents: number 1 is read here · another transaction makes it 2, commits, and drops 1 and 2 · a reader caches
        what is under 2 · this one makes it 3, and drops 1 and 3 · the value under 2 stays.
        """
        connection = connections[using]
        locks = connection.features.has_select_for_update and not connection.get_autocommit()
        if not locks or instance._state.adding:
            row = self._row(instance, using)
            # A new object mostly has no row, and MySQL would lock the gap into which others insert theirs.
            if not locks or row is None:
                return row
        # No manager's joins and aggregates, which cannot be locked; the parents' rows are: parts may stand there.
        rows = models.QuerySet(self._model, using=using).filter(pk=instance.pk).order_by()
        # No stronger than what follows. Prevents: rows that refer to this one wait for a change of its title.
        no_key = connection.features.has_select_for_no_key_update and not deleted
        return next(iter(rows.select_for_update(no_key=no_key)), None)

    def _row(self, instance: Any, using: str) -> Any:
        return self._model._base_manager.using(using).filter(pk=instance.pk).first()

    def _parts_of(self, row: Any, *, raw: bool) -> list[Mapping[str, object]]:
        try:
            given = self._parts(row)
        except ObjectDoesNotExist:
            if not raw:
                raise
            # A fixture may name a row before it is there. Its keys are unknown then, and it must load all the same.
            log.warning(
                "what %r of a fixture makes stale is not known, since a row that it refers to is not there yet; "
                "call room().drop_keyspace(…) of %s after it",
                row,
                self._pattern,
            )
            return []
        each = [] if given is None else [given] if isinstance(given, Mapping) else list(given)
        for parts in each:
            if not isinstance(parts, Mapping):
                raise InvalidInput("parts", f"returned {type_name(parts)} for a {type(row).__name__}", _PARTS)
        return each

    def _keys(self, each: list[Mapping[str, object]]) -> list[StaleKey]:
        return [StaleKey(self._pattern.key(**parts), self._is_group, self._lifetime_ms) for parts in each]


def _is_inserted(instance: Any, *, raw: bool) -> bool:
    """Whether Django inserts an object without looking for a row with its key: a new one whose key has a default.

    Prevents: `Episode(pk=1, number=2).save()` changes row 1 · the object counts as new, and nobody reads the row · the
    value under its old parts stays.
    """
    if raw or not instance._state.adding:
        return False
    return all(one.has_default() or one.has_db_default() for one in instance._meta.pk_fields)
