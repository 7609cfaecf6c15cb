"""The contract of the record: what any implementation of `Records` must do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from greenroom.errors import Conflict, RecordUnavailable, UnknownReference
from greenroom_platform.domain.records import Records, SnippetImport, TopicImport
from greenroom_platform.testing.records_actions import ActionsContract
from greenroom_platform.testing.records_caches import CachesContract
from greenroom_platform.testing.records_changes import NOON, ChangesContract, about, fill, ids, snippet, topic, wording
from greenroom_platform.testing.records_conditions import ConditionsContract
from greenroom_platform.testing.records_edits import EditsContract
from greenroom_platform.testing.records_elsewhere import ElsewhereContract
from greenroom_platform.testing.records_search import SearchContract


class RecordsContract(
    ActionsContract,
    CachesContract,
    ChangesContract,
    ConditionsContract,
    EditsContract,
    ElsewhereContract,
    SearchContract,
):
    """Every promise of `Records` as a test. Subclass it and say how an empty record of yours is opened:

        from greenroom_platform.testing import RecordsContract

        class TestMyRecords(RecordsContract):
            @pytest.fixture
            async def records(self):
                records = await MyRecords.open(...)
                yield records
                await records.close()

    Two further fixtures are asked for by the tests of several processes and of writes that are cut off, which are
    skipped without them: `another` opens the same record once more, and `cuts` are ways to let a step of a write fail
    (`greenroom_platform.testing.records_elsewhere`).

    The tests are coroutines: run them with pytest-asyncio in its auto mode, or in its strict mode with
    `pytestmark = pytest.mark.asyncio` in the subclass and `@pytest_asyncio.fixture` on the fixture. One test closes the
    record itself, so closing twice must be no error.
    """

    @pytest.fixture
    def records(self) -> Records:
        """An empty record; to be overridden."""
        raise NotImplementedError("override the fixture `records`: it gives an empty record of yours")

    # Reads -----------------------------------------------------------------------------------------

    async def test_an_empty_record_answers_with_nothing(self, records: Records) -> None:
        await records.ping()
        assert await records.is_empty()
        assert await records.topic("a") is None
        assert await records.topics() == ()
        assert await records.snippet("s") is None
        assert await records.page("a", 1) == ()
        assert await records.newest(20) == ()
        assert await records.pending() == ()

    async def test_a_record_with_a_topic_alone_is_not_empty_and_without_it_is_again(self, records: Records) -> None:
        await records.put_topic("a", about("A"), NOON)
        assert not await records.is_empty()
        await records.delete_topic("a")
        assert await records.is_empty()

    async def test_topics_are_ordered_by_name_by_code_point_then_by_id(self, records: Records) -> None:
        names = {"d": "apple", "b": "Zebra", "c": "Zebra", "e": "Éclair", "a": "\U0001f399", "f": "～", "A": "apple"}
        for topic_id, name in names.items():
            await records.put_topic(topic_id, about(name), NOON)
        assert [one.topic_id for one in await records.topics()] == ["b", "c", "A", "d", "e", "f", "a"]

    async def test_a_page_holds_20_and_a_page_past_the_end_is_empty(self, records: Records) -> None:
        every = await fill(records, "a", 41)
        await fill(records, "b", 1)
        newest_first = every[::-1]
        assert ids(await records.page("a", 1)) == newest_first[:20]
        assert ids(await records.page("a", 2)) == newest_first[20:40]
        assert ids(await records.page("a", 3)) == newest_first[40:]
        assert await records.page("a", 4) == ()
        assert await records.page("a", 10_000) == ()
        assert await records.page("unknown", 1) == ()

    async def test_snippets_are_ordered_by_the_moment_itself_and_equal_moments_by_id(self, records: Records) -> None:
        second = NOON.replace(microsecond=0)
        moments = {
            "whole": second,
            "half": second + timedelta(microseconds=500_000),
            "later": second + timedelta(microseconds=500_001),
            "tenth": second + timedelta(microseconds=100_000),
            "Half": second + timedelta(microseconds=500_000),
            "half.": second + timedelta(microseconds=500_000),
            "before": second - timedelta(microseconds=1),
            "east": (second + timedelta(seconds=1)).astimezone(timezone(timedelta(hours=9))),
        }
        await records.store([topic("a")], [snippet(one, "a", moment) for one, moment in moments.items()])
        order = ["east", "later", "Half", "half", "half.", "tenth", "whole", "before"]
        assert ids(await records.page("a", 1)) == order
        assert ids(await records.newest(20)) == order

    async def test_the_newest_are_over_all_topics_and_as_many_as_asked_for(self, records: Records) -> None:
        await records.store([topic("a"), topic("b")], [])
        for number in range(6):
            moment = NOON + timedelta(seconds=number)
            await records.store([], [snippet(f"s{number}", "ab"[number % 2], moment)])
        assert ids(await records.newest(3)) == ["s5", "s4", "s3"]
        assert ids(await records.newest(20)) == ["s5", "s4", "s3", "s2", "s1", "s0"]

    # Topics ----------------------------------------------------------------------------------------

    async def test_a_topic_comes_back_as_it_was_written(self, records: Records) -> None:
        draft = about("“Ethics” \U0001f399", description="Two\nlines, 'quoted'", keywords=("é", "b"))
        written = await records.put_topic("a", draft, NOON)
        assert written.created
        assert (written.value.display_name, written.value.description) == (draft.display_name, draft.description)
        assert written.value.keywords == ("é", "b")
        assert await records.topic("a") == written.value
        assert await records.topics() == (written.value,)

    async def test_replacing_a_topic_keeps_its_creation_and_renews_its_update(self, records: Records) -> None:
        await records.put_topic("a", about("Before", keywords=("old",)), NOON)
        later = NOON + timedelta(days=1)
        written = await records.put_topic("a", about("After"), later)
        assert not written.created
        assert (written.value.created_at, written.value.updated_at) == (NOON, later)
        assert (written.value.display_name, written.value.keywords) == ("After", ())
        assert await records.topics() == (written.value,)

    async def test_times_are_kept_in_utc_to_the_microsecond(self, records: Records) -> None:
        here = datetime(2026, 1, 2, 3, 4, 5, 678_901, timezone(timedelta(hours=-5, minutes=-30)))
        there = datetime(2026, 1, 2, 8, 34, 5, 678_901, UTC)
        put = (await records.put_topic("a", about("A"), here)).value
        added = (await records.add_snippet("s", wording("a"), here)).value
        await records.store([topic("b", here)], [snippet("t", "b", here)])
        topics = [put, await records.topic("a"), await records.topic("b")]
        moments = [moment for one in topics if one is not None for moment in (one.created_at, one.updated_at)]
        snippets = [added, await records.snippet("s"), await records.snippet("t")]
        moments += [one.generation_timestamp for one in snippets if one is not None]
        assert moments == [there] * 9
        assert {moment.utcoffset() for moment in moments} == {timedelta(0)}

    async def test_a_topic_that_has_snippets_is_not_deleted(self, records: Records) -> None:
        await fill(records, "a", 1)
        with pytest.raises(Conflict):
            await records.delete_topic("a")
        assert await records.topic("a") == topic("a")
        await records.delete_snippet("a000")
        assert await records.delete_topic("a") is not None
        assert await records.topic("a") is None
        assert await records.topics() == ()
        assert await records.delete_topic("a") is None

    # Snippets --------------------------------------------------------------------------------------

    async def test_a_snippet_comes_back_as_it_was_written(self, records: Records) -> None:
        await records.put_topic("a", about("A"), NOON)
        draft = wording("a", "“T” \U0001f399", cover_art_prompt="a 'lamp'\n", image_url="https://example.org/i.png")
        written = await records.add_snippet("s", draft, NOON)
        assert written.created
        assert written.value == snippet(
            "s", "a", NOON, "“T” \U0001f399", cover_art_prompt="a 'lamp'\n", image_url="https://example.org/i.png"
        )
        assert await records.snippet("s") == written.value
        assert await records.page("a", 1) == await records.newest(20) == (written.value,)

    async def test_a_snippet_on_an_unknown_topic_is_refused(self, records: Records) -> None:
        await fill(records, "a", 1)
        before = await records.snippet("a000")
        with pytest.raises(UnknownReference) as caught:
            await records.add_snippet("s", wording("b"), NOON)
        assert (caught.value.field, caught.value.value) == ("topic_id", "b")
        with pytest.raises(UnknownReference):
            await records.put_snippet("a000", wording("b"))
        assert await records.snippet("s") is None
        assert await records.snippet("a000") == before

    async def test_a_taken_id_is_a_conflict(self, records: Records) -> None:
        await fill(records, "a", 1)
        before = await records.snippet("a000")
        with pytest.raises(Conflict):
            await records.add_snippet("a000", wording("a", "Another"), NOON)
        assert await records.snippet("a000") == before

    async def test_replacing_a_snippet_keeps_its_time_and_drops_omitted_fields(self, records: Records) -> None:
        await records.put_topic("a", about("A"), NOON)
        await records.add_snippet("s", wording("a", "Before", cover_art_prompt="a lamp"), NOON)
        written = await records.put_snippet("s", wording("a", "After"))
        assert written is not None
        assert not written.created
        assert written.value == snippet("s", "a", NOON, "After")
        assert await records.snippet("s") == written.value
        assert await records.put_snippet("unknown", wording("a")) is None
        assert await records.snippet("unknown") is None

    async def test_a_moved_snippet_leaves_the_pages_of_its_old_topic(self, records: Records) -> None:
        await fill(records, "a", 21)
        await fill(records, "b", 1)
        await records.put_snippet("a020", wording("b"))
        assert "a020" not in ids(await records.page("a", 1))
        assert await records.page("a", 2) == ()
        assert ids(await records.page("b", 1)) == ["a020", "b000"]

    async def test_a_deleted_snippet_is_nowhere(self, records: Records) -> None:
        await fill(records, "a", 2)
        assert await records.delete_snippet("a001") is not None
        assert await records.snippet("a001") is None
        assert ids(await records.page("a", 1)) == ids(await records.newest(20)) == ["a000"]
        assert await records.delete_snippet("a001") is None

    # Whole objects ---------------------------------------------------------------------------------

    async def test_whole_objects_are_stored_with_their_times_and_replace_others(self, records: Records) -> None:
        await records.store([topic("a")], [snippet("s", "a", NOON, image_url="/i.png")])
        assert await records.topic("a") == topic("a")
        assert await records.snippet("s") == snippet("s", "a", NOON, image_url="/i.png")
        later = NOON + timedelta(days=1)
        await records.store([topic("a", later, name="After"), topic("b")], [snippet("s", "b", later)])
        assert await records.topic("a") == topic("a", later, name="After")
        assert await records.snippet("s") == snippet("s", "b", later)
        assert ids(await records.page("b", 1)) == ["s"]
        assert await records.page("a", 1) == ()

    async def test_storing_what_is_there_changes_nothing(self, records: Records) -> None:
        topics, snippets = [topic("a"), topic("b")], [snippet("s", "a", NOON), snippet("t", "b", NOON)]
        assert await records.store(topics, snippets) is not None
        pending = await records.pending()
        assert await records.store(topics, snippets) is None
        assert await records.store([], []) is None
        elsewhere = NOON.astimezone(timezone(timedelta(hours=2)))  # the same moment
        assert await records.store([topic("a", elsewhere)], [snippet("s", "a", elsewhere)]) is None
        assert await records.pending() == pending

    async def test_times_that_whole_objects_lack_are_made_as_an_editor_s(self, records: Records) -> None:
        later = NOON + timedelta(days=1)
        untimed = TopicImport(topic_id="a", **msgspec.structs.asdict(about("Name")))
        text = SnippetImport(snippet_id="s", **msgspec.structs.asdict(wording("a")))
        await records.store([untimed], [text], NOON.astimezone(timezone(timedelta(hours=2))))
        assert await records.topic("a") == topic("a")
        assert await records.snippet("s") == snippet("s", "a", NOON)
        assert await records.store([untimed], [text], later) is None
        renamed = msgspec.structs.replace(untimed, display_name="After")
        await records.store([renamed], [msgspec.structs.replace(text, title="After")], later)
        stored = await records.topic("a")
        assert stored == msgspec.structs.replace(topic("a", name="After"), updated_at=later)
        assert await records.snippet("s") == snippet("s", "a", NOON, "After")

    async def test_of_whole_objects_all_or_none_are_stored(self, records: Records) -> None:
        await records.store([topic("a")], [])
        with pytest.raises(UnknownReference) as caught:
            await records.store([topic("b")], [snippet("s", "a", NOON), snippet("t", "unknown", NOON)])
        assert (caught.value.field, caught.value.value) == ("topic_id", "unknown")
        assert await records.topics() == (topic("a"),)
        assert await records.newest(20) == ()

    # The end ---------------------------------------------------------------------------------------

    async def test_a_closed_record_refuses_further_calls(self, records: Records) -> None:
        await records.close()
        with pytest.raises(RecordUnavailable):
            await records.ping()
        with pytest.raises(RecordUnavailable):
            await records.put_topic("a", about("A"), NOON)
