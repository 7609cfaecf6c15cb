"""Snippets and their pages: read through the cache, written to the record and then dropped from the cache."""

from __future__ import annotations

from collections.abc import Callable

from greenroom.caching import Cache, CacheResult
from greenroom.callbacks import nothing
from greenroom.clock import Clock
from greenroom_platform.domain.changes import Changes
from greenroom_platform.domain.drop_receipt import OnReceipt
from greenroom_platform.domain.newest import Newest
from greenroom_platform.domain.precondition import ALWAYS, Precondition
from greenroom_platform.domain.records import Records, SnippetDraft, Written
from greenroom_platform.models import Snippet


class Snippets:
    """The snippets of the platform; reads raise as `Cache.get`, writes as the record."""

    def __init__(
        self,
        records: Records,
        changes: Changes,
        *,
        one: Cache[Snippet],
        pages: Cache[tuple[Snippet, ...]],
        newest: Newest,
        clock: Clock,
    ) -> None:
        self._records = records
        self._changes = changes
        self.one = one
        self.pages = pages
        self._newest = newest
        self._clock = clock

    def check(self, snippet_id: str) -> None:
        """Return if such an id may exist.

        Raises:
            InvalidInput: naming `snippet_id`, for an id that no key can hold.
        """
        self.one.keyspace.key(snippet_id)

    async def get(self, snippet_id: str) -> Snippet | None:
        """One snippet; None where there is none."""
        return await self.one.get(snippet_id)

    async def page(self, topic_id: str, page_number: int = 1) -> tuple[Snippet, ...]:
        """A page of a topic's snippets, 20 from the newest on; empty past the end and for an unknown topic."""
        return await self.pages.get(topic_id=topic_id, page_number=page_number) or ()

    async def read(self, snippet_id: str) -> CacheResult[Snippet]:
        """One snippet, its JSON, and how they came about."""
        return await self.one.get_result(snippet_id)

    async def read_page(self, topic_id: str, page_number: int = 1) -> CacheResult[tuple[Snippet, ...]]:
        """A page, its JSON array, and how they came about; the value is None past the end."""
        return await self.pages.get_result(topic_id=topic_id, page_number=page_number)

    async def read_newest(self) -> CacheResult[tuple[Snippet, ...]]:
        """The newest 20 over all topics, at most a second old."""
        self._changes.opened.check()
        return await self._newest.read()

    async def add(self, draft: SnippetDraft, *, on_receipt: OnReceipt = nothing) -> Written[Snippet]:
        """Create a snippet, generated now.

        Raises:
            UnknownReference: when its topic does not exist.
        """
        self._changes.opened.check()
        return await self._changes.detached.finish(self._add(draft, on_receipt))

    async def _add(self, draft: SnippetDraft, on_receipt: OnReceipt) -> Written[Snippet]:
        spent = await self._changes.before(draft.topic_id)
        async with self._changes.writing():
            written = await self._records.add_snippet(self._clock.token().hex(), draft, self._clock.now())
        on_receipt(await self._changes.send(written.change, spent=spent))
        return written

    async def put(
        self, snippet_id: str, draft: SnippetDraft, *, condition: Precondition = ALWAYS
    ) -> Written[Snippet] | None:
        """Replace what the draft says of a snippet; None where there is no such snippet, whatever the condition.

        Raises:
            InvalidInput: naming `snippet_id`, for an id that no key can hold.
            PreconditionFailed: when the condition does not hold of the stored snippet.
            UnknownReference: when its topic does not exist.
        """
        return await self.edit(snippet_id, lambda _: draft, condition=condition)

    async def edit(
        self,
        snippet_id: str,
        edit: Callable[[Snippet], SnippetDraft],
        *,
        condition: Precondition = ALWAYS,
        on_receipt: OnReceipt = nothing,
    ) -> Written[Snippet] | None:
        """As `put`, with a draft made of the snippet as it is stored at that moment.

        Arguments:
            edit: a pure function, called in the record's transaction after the condition, perhaps more than once; what
                it raises is raised here, and nothing is changed.
            on_receipt: is told when what became stale was dropped.
        """
        self.check(snippet_id)
        self._changes.opened.check()
        return await self._changes.detached.finish(self._edit(snippet_id, edit, condition, on_receipt))

    # docs/decisions/0023-group-drop-before-is-best-effort.md
    async def _edit(
        self,
        snippet_id: str,
        edit: Callable[[Snippet], SnippetDraft],
        condition: Precondition,
        on_receipt: OnReceipt,
    ) -> Written[Snippet] | None:
        async with self._changes.conditional(self.one, snippet_id):
            written = await self._records.edit_snippet(snippet_id, edit, condition=condition)
        if written is not None:
            on_receipt(await self._changes.send(written.change))
        return written

    async def delete(
        self, snippet_id: str, *, condition: Precondition = ALWAYS, on_receipt: OnReceipt = nothing
    ) -> bool:
        """Delete a snippet; False where there is none.

        Raises:
            PreconditionFailed: when the condition does not hold of it.
        """
        self._changes.opened.check()
        return await self._changes.detached.finish(self._delete(snippet_id, condition, on_receipt))

    async def _delete(self, snippet_id: str, condition: Precondition, on_receipt: OnReceipt) -> bool:
        old = await self._records.snippet(snippet_id)
        if old is None:
            return False
        spent = await self._changes.before(old.topic_id)
        async with self._changes.conditional(self.one, snippet_id):
            change = await self._records.delete_snippet(snippet_id, condition=condition)
        if change is None:
            return False
        on_receipt(await self._changes.send(change, spent=spent))
        return True
