"""What a transaction makes stale is dropped when it commits, whatever becomes of its process."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core import serializers
from django.db import DatabaseError, connections, transaction
from django.db.models import F
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext

from greenroom.errors import EngineUnavailable, InvalidInput
from greenroom.integrations.django import invalidates, outbox, room, send_left
from greenroom.integrations.django.invalidation import StaleKey, _Invalidation
from tests.support.real_servers import Server
from tests.support.sync_rooms import together

pytestmark = pytest.mark.usefixtures("room")
NOW = timedelta(0)


@pytest.fixture
def shop() -> Any:
    from tests.support.django_site import models

    return models


@pytest.fixture
def rows() -> Any:
    from greenroom.integrations.django.models import OutboxRow

    return OutboxRow.objects


def test_a_commit_drops_what_its_changes_made_stale(shop: Any, rows: Any) -> None:
    row = shop.Episode.objects.create(show="s", number=1, title="one")
    assert shop.episode("s", 1).title == "one"
    assert shop.page("s", 1) == [1]
    with transaction.atomic():
        row.title = "two"
        row.save()
        shop.Episode.objects.create(show="s", number=2, title="new")
        assert rows.count() > 0
        # Nobody else knows yet.
        assert together([lambda: shop.episode("s", 1).title]) == ["one"]
    assert rows.count() == 0
    assert shop.episode("s", 1).title == "two"
    assert shop.episode("s", 2).title == "new"
    assert shop.page("s", 1) == [1, 2]


def test_a_deletion_drops_too(shop: Any, rows: Any) -> None:
    row = shop.Episode.objects.create(show="s", number=1, title="one")
    assert shop.episode("s", 1)
    row.delete()
    assert shop.episode("s", 1) is None
    shop.Episode.objects.create(show="s", number=1, title="two")
    assert shop.episode("s", 1).title == "two"
    shop.Episode.objects.filter(show="s").delete()  # loads them, and sends signals
    assert shop.episode("s", 1) is None
    assert rows.count() == 0


def test_a_change_of_the_parts_drops_the_old_value_too(shop: Any) -> None:
    row = shop.Episode.objects.create(show="s", number=1, title="one")
    assert shop.episode("s", 1)
    assert shop.page("s", 1) == [1]
    row.show, row.number = "t", 2
    row.save()
    assert shop.episode("s", 1) is None
    assert shop.page("s", 1) == []
    assert shop.episode("t", 2).title == "one"


def rename(row: Any) -> None:
    row.save(update_fields=["title"])


def rename_in_vain(row: Any) -> None:
    with transaction.atomic():
        rename(row)
        transaction.set_rollback(True)


def rename_wrongly(row: Any) -> None:
    row.title = None
    with pytest.raises(DatabaseError), transaction.atomic():
        rename(row)
    row.title = "two"


@pytest.mark.parametrize("again", [rename, rename_in_vain, rename_wrongly])
@pytest.mark.parametrize("around", [transaction.atomic, nullcontext])
def test_a_save_within_a_save_loses_no_old_parts(shop: Any, rows: Any, again: Any, around: Any) -> None:
    row = shop.Episode.objects.create(show="s", number=7, title="one")
    assert [shop.episode("s", 7).title, shop.page("s", 1)] == ["one", [7]]
    within: list[bool] = []

    def saved(instance: Any, **_: Any) -> None:
        if not within:
            within.append(True)
            again(instance)

    post_save.connect(saved, sender=shop.Episode)
    # Those of `invalidates` are called after it.
    post_save.receivers.insert(0, post_save.receivers.pop())
    try:
        row.show, row.number, row.title = "t", 8, "two"
        with around():
            row.save()
    finally:
        post_save.disconnect(saved, sender=shop.Episode)
    assert within
    assert [shop.episode("s", 7), shop.page("s", 1)] == [None, []]
    assert shop.episode("t", 8).title == "two"
    assert rows.count() == 0


@pytest.fixture
def locking(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """How many locking SELECTs a call makes; SQLite, which has none, runs them as plain ones with a comment."""
    connection = connections["default"]
    monkeypatch.setattr(connection.features, "has_select_for_update", True)
    monkeypatch.setattr(connection.features, "has_select_for_no_key_update", True)
    monkeypatch.setattr(connection.ops, "for_update_sql", lambda **given: f"/* {_strength(**given)} */")

    def locks(call: Callable[[], object], strength: str = "no key") -> int:
        with CaptureQueriesContext(connection) as captured:
            call()
        return sum(f"/* {strength} */" in one["sql"] for one in captured)

    return locks


def _strength(*, no_key: bool, **_: object) -> str:
    return "no key" if no_key else "whole"


def test_a_save_in_a_transaction_locks_the_row_before_it_reads_its_parts(
    shop: Any, locking: Callable[..., int]
) -> None:
    row = shop.Episode.objects.create(show="s", number=1, title="one")
    with transaction.atomic():
        assert locking(row.save) == 2  # one for each `invalidates` of the model
        assert locking(shop.Episode(pk=row.pk, show="s", number=2, title="moved").save) == 2
    assert locking(row.save) == 0  # in autocommit no lock outlives its statement
    assert locking(row.delete, "whole") == 2  # Django deletes in a transaction


def test_a_new_object_locks_no_row(shop: Any, locking: Callable[..., int]) -> None:
    with transaction.atomic():
        assert locking(shop.Episode(show="s", number=1, title="one").save) == 0
        # MySQL would lock the gap around it, in which others insert.
        assert locking(shop.Episode(pk=10**9, show="s", number=2, title="two").save) == 0


def test_an_object_that_is_saved_by_its_key_drops_the_rows_old_value(shop: Any) -> None:
    row = shop.Episode.objects.create(show="s", number=1, title="one")
    assert shop.episode("s", 1)
    shop.Episode(pk=row.pk, show="s", number=2, title="moved").save()  # Django updates the row
    assert shop.episode("s", 1) is None
    data = [{"model": "django_site.episode", "pk": row.pk, "fields": {"show": "s", "number": 3, "title": "loaded"}}]
    assert shop.episode("s", 2)
    for loaded in serializers.deserialize("json", json.dumps(data)):
        loaded.save()
    assert shop.episode("s", 2) is None


def test_a_part_that_the_database_computes_is_dropped_as_it_is(shop: Any) -> None:
    row = shop.Episode.objects.create(show="s", number=1, title="one")
    assert shop.episode("s", 1)
    assert shop.episode("s", 3) is None
    for given in (F("number") + 2, "4"):
        row.number = given
        row.save()
        row = shop.Episode.objects.get(pk=row.pk)
        assert shop.episode("s", row.number).title == "one"
    assert [shop.episode("s", number) is None for number in (1, 3)] == [True, True]


def test_a_row_whose_parts_make_no_key_is_saved_mended_and_deleted(
    shop: Any, rows: Any, caplog: pytest.LogCaptureFixture
) -> None:
    row = shop.Episode.objects.create(show="s", number=1, title="one")
    assert shop.episode("s", 1)
    row.show = "no key"
    row.save()
    assert "show: 'no key' cannot be part of a key" in caplog.text
    assert shop.episode("s", 1) is None
    row.show = "s"
    row.save()
    assert shop.episode("s", 1).title == "one"
    shop.Episode.objects.create(show="no key", number=2).delete()
    assert rows.count() == 0


def test_a_fixture_that_names_a_row_before_it_is_there_loads(shop: Any, caplog: pytest.LogCaptureFixture) -> None:
    def unknown(row: Any) -> dict[str, object]:
        return {"show": shop.Episode.objects.get(number=row.number + 1).show, "number": 1}

    one = shop.Episode(pk=7, show="s", number=1)
    invalidation = _Invalidation(shop.Episode, shop.EPISODE, unknown, None, parts_change=True)
    invalidation._after(one, "default", raw=True)
    assert "drop_keyspace" in caplog.text
    with pytest.raises(shop.Episode.DoesNotExist):
        invalidation._after(one, "default")


def test_a_transaction_that_nobody_tells_of_leaves_its_rows_to_others(shop: Any, rows: Any) -> None:
    row = shop.Episode.objects.create(show="s", number=1, title="one")
    assert shop.episode("s", 1)
    transaction.set_autocommit(False)
    try:
        row.title = "two"
        row.save()
        shop.Episode.objects.create(show="s", number=2, title="never")
        assert shop.episode("s", 2).title == "never"
        transaction.rollback()
        assert shop.episode("s", 2) is None  # what was rolled back is not cached
        row.save()
        transaction.commit()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert rows.count() > 0
    assert send_left(older_than=NOW) > 0
    assert shop.episode("s", 1).title == "two"


def test_a_rollback_drops_nothing_and_leaves_no_rows(shop: Any, rows: Any) -> None:
    row = shop.Episode.objects.create(show="s", number=1, title="one")
    assert shop.episode("s", 1)
    loads = len(shop.loads)
    with transaction.atomic():
        row.title = "two"
        row.save()
        transaction.set_rollback(True)
    assert rows.count() == 0
    assert shop.episode("s", 1).title == "one"
    assert len(shop.loads) == loads


def test_a_savepoint_that_is_rolled_back_takes_no_other_drop_along(shop: Any, rows: Any) -> None:
    one, two = (shop.Episode.objects.create(show="s", number=n, title="old") for n in (1, 2))
    assert shop.episode("s", 1)
    assert shop.episode("s", 2)
    with transaction.atomic():
        with transaction.atomic():
            one.title = "never"
            one.save()
            transaction.set_rollback(True)
        two.title = "new"
        two.save()
    assert [shop.episode("s", 1).title, shop.episode("s", 2).title] == ["old", "new"]
    assert rows.count() == 0


def test_what_is_rolled_back_takes_no_row_of_another_process_along(
    shop: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = outbox._send

    def send(*args: Any) -> None:
        # Committed, and not dropped yet: now another process writes a row, and is killed.
        together([lambda: outbox.write([StaleKey("theirs", is_group=False, lifetime_ms=1_000)], "default")])
        real(*args)

    monkeypatch.setattr(outbox, "_send", send)
    with transaction.atomic():
        shop.Episode.objects.create(show="s", number=1, title="new")
        with transaction.atomic():
            shop.Episode.objects.create(show="s", number=2, title="never")
            transaction.set_rollback(True)
    assert [row.key for row in rows.all()] == ["theirs"]


def test_a_value_that_is_loaded_in_a_transaction_is_not_stored(shop: Any) -> None:
    row = shop.Episode.objects.create(show="s", number=1, title="one")
    with transaction.atomic():
        row.title = "never"
        row.save()
        assert shop.episode("s", 1).title == "never"  # its own change
        assert together([lambda: shop.episode.peek("s", 1)]) == [None]
        transaction.set_rollback(True)
    assert shop.episode("s", 1).title == "one"


def test_a_transactions_load_is_not_given_to_another_thread_that_waits(shop: Any) -> None:
    shop.Episode.objects.create(show="s", number=1, title="one")
    inside, go = threading.Event(), threading.Event()

    def change() -> str:
        with transaction.atomic():
            found = shop.episode("s", 1).title
            inside.set()
            assert go.wait(30)
        return str(found)

    def read() -> str:
        assert inside.wait(30)
        found = shop.episode("s", 1).title
        go.set()
        return str(found)

    assert together([change, read]) == ["one", "one"]
    assert len(shop.loads) == 2  # each loaded for itself


def test_what_a_dead_process_left_is_sent_by_another(shop: Any, rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    row = shop.Episode.objects.create(show="s", number=1, title="one")
    assert shop.episode("s", 1)
    assert shop.page("s", 1)
    monkeypatch.setattr(outbox, "send", lambda *_: None)  # it dies between its commit and its drop
    row.title = "two"
    row.save()
    assert shop.episode("s", 1).title == "one"
    assert rows.count() == 2
    assert send_left(older_than=timedelta(hours=1)) == 0  # these are their own process's
    assert send_left(older_than=NOW) == 2
    assert rows.count() == 0
    assert shop.episode("s", 1).title == "two"


def test_a_drop_that_fails_stays_and_does_not_fail_the_change(
    shop: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = shop.Episode.objects.create(show="s", number=1, title="one")
    real = type(room()).drop

    def away(*_: object) -> None:
        raise EngineUnavailable("away")

    monkeypatch.setattr(type(room()), "drop", away)
    row.title = "two"
    row.save()
    with pytest.raises(EngineUnavailable):
        send_left(older_than=NOW)
    assert rows.count() == 2
    monkeypatch.setattr(type(room()), "drop", real)
    assert send_left(older_than=NOW) == 2


@pytest.mark.own_limits
def test_a_server_that_hangs_leaves_the_rows_and_the_change(shop: Any, rows: Any, project: Server) -> None:
    row = shop.Episode.objects.create(show="s", number=1, title="one")
    assert shop.episode("s", 1)
    with project.frozen():
        row.title = "two"
        row.save()
        assert rows.count() == 2
    room().ready()
    assert send_left(older_than=NOW) == 2
    assert rows.count() == 0
    assert shop.episode("s", 1).title == "two"


def test_a_database_without_the_table_keeps_no_other_from_being_sent(
    shop: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "send", lambda *_: None)
    shop.Episode.objects.create(show="s", number=1, title="one")
    legacy = {**connections.settings["default"], "NAME": ":memory:"}
    monkeypatch.setitem(connections.settings, "legacy", legacy)
    monkeypatch.setattr(settings, "DATABASES", {"legacy": legacy, **settings.DATABASES})
    try:
        with pytest.raises(DatabaseError, match="greenroom_outboxrow"):
            send_left(older_than=NOW)
    finally:
        connections["legacy"].close()
        del connections["legacy"]
    assert rows.count() == 0


def test_what_was_rolled_back_is_not_sent_with_the_next_commit(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    monkeypatch.setattr(outbox, "_send", lambda _room, rows, _using: sent.extend(row.key for row in rows))
    with transaction.atomic():
        shop.Episode.objects.create(show="never", number=1, title="one")
        transaction.set_rollback(True)
    shop.Episode.objects.create(show="s", number=1, title="one")
    assert sorted(sent) == ["episode:s:1", "list:s"]


def test_many_changes_of_a_transaction_are_sent_together(shop: Any, rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    real = outbox._send

    def send(*args: Any) -> None:
        sent.append(len(args[1]))
        real(*args)

    monkeypatch.setattr(outbox, "_send", send)
    with transaction.atomic():
        for number in range(50):
            shop.Episode.objects.create(show="s", number=number, title="new")
    assert sent == [100]
    assert rows.count() == 0


def test_wrong_declarations_are_refused_by_name(shop: Any) -> None:
    good: tuple[Any, ...] = shop.Episode, shop.EPISODE, lambda row: None
    for place, bad, name in ((0, "Episode", "model"), (1, "episode:{x}", "keyspace"), (2, {"a": 1}, "parts")):
        given = list(good)
        given[place] = bad
        with pytest.raises(InvalidInput, match=f"^{name}: "):
            invalidates(*given)
    with pytest.raises(InvalidInput, match=r"^groups: "):
        invalidates(*good, group="list:{nobody}")
