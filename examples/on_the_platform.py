"""A program on the platform: an editor's tool. Run it; it has a Valkey and a database of its own, in a directory."""

import asyncio
import sys

from greenroom_platform.domain.records import SnippetDraft, TopicDraft
from greenroom_platform.platform import Platform, open_platform

NIGHT = TopicDraft(display_name="Night", description="What happens while we sleep.", keywords=("night", "stars"))


async def write(platform: Platform) -> None:
    """Writes a topic with a snippet: the record first, then what is cached of them, in every process."""
    await platform.topics.put("night", NIGHT)
    draft = SnippetDraft(topic_id="night", title="Dark", text_content="It is dark outside.")
    await platform.snippets.put("night_001", draft)


async def fail(platform: Platform) -> None:
    """Stands for `greenroom work`, whose voices take a while: claims the task, and gives it up."""
    claim = await platform.tasks.claim("by-hand")
    assert claim is not None
    await platform.tasks.fail(claim, "no voices here")


async def main(directory: str | None = None) -> None:
    async with open_platform(data_dir=directory) as platform:
        await write(platform)
        print([topic.display_name for topic in await platform.topics.all()])
        requested = await platform.generation.request("night")
        # Each step is pushed, to this process and all others: nobody polls.
        async for status in platform.statuses.follow(requested.task.podcast_id):
            print(status.status, status.error_message or "")
            if status.status == "queued":
                await fail(platform)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
