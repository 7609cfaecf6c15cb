"""Programs that use generated clients; each asks for a podcast twice under one key, and meets its conditions."""

from __future__ import annotations

TYPESCRIPT = r"""import type { components, operations } from "./api.js";

type Generate = operations["generatePodcast"];
type Put = operations["putTopic"];
type Read = operations["readTopic"]["responses"];
type Accepted = Generate["responses"][202]["content"]["application/json"];
type Problem = components["responses"]["problem"]["content"]["application/problem+json"];

const [url, token] = process.argv.slice(2) as [string, string];

async function generate(headers: NonNullable<Generate["parameters"]["header"]>): Promise<Accepted> {
  const body: Generate["requestBody"]["content"]["application/json"] = { topic_id: "tech_ai_ethics" };
  const answer = await fetch(`${url}/api/v1/podcasts/generate`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  return (await answer.json()) as Accepted;
}

async function put(headers: NonNullable<Put["parameters"]["header"]>): Promise<Problem> {
  const body: Put["requestBody"]["content"]["application/json"] = { display_name: "AI", description: "", keywords: [] };
  const answer = await fetch(`${url}/api/v1/topics/tech_ai_ethics`, {
    method: "PUT",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}`, ...headers },
    body: JSON.stringify(body),
  });
  return (await answer.json()) as Problem;
}

const key = { "Idempotency-Key": "of-the-typescript-client" };
const [first, second] = [await generate(key), await generate(key)];

const read = await fetch(`${url}/api/v1/topics/tech_ai_ethics`);
const topic = (await read.json()) as Read[200]["content"]["application/json"];
const sent: Pick<Read[200]["headers"], "ETag"> = { ETag: read.headers.get("ETag") ?? "" };
const tag: string = sent.ETag;
const again = await fetch(`${url}/api/v1/topics/${topic.topic_id}`, { headers: { "If-None-Match": tag } });
const unchanged: keyof Read = again.status as 304;
const refused = await put({ "If-Match": '"another"' });

// What the description does not have must not compile.
// @ts-expect-error: a header that the call does not take
const wrong: Generate["parameters"]["header"] = { "Idempotency-Keys": "" };
// @ts-expect-error: an answer that the call does not give
type Never = operations["listTopics"]["responses"][412];
// @ts-expect-error: a member that a topic does not have
topic.name;

console.log(JSON.stringify({ podcasts: [first.podcast_id, second.podcast_id], tag, unchanged, refused: refused.type }));
"""
"""Its types are made by openapi-typescript; lines that must not compile say so."""

PYTHON = r"""import json
import sys

from greenroom_client import AuthenticatedClient, Client
from greenroom_client.api.podcasts import generate_podcast
from greenroom_client.api.topics import put_topic, read_topic
from greenroom_client.models import Accepted, PodcastRequest, ProblemDocument, Topic, TopicDraft

url, token = sys.argv[1:]
with Client(base_url=url) as client, AuthenticatedClient(base_url=url, token=token) as editor:
    request = PodcastRequest(topic_id="tech_ai_ethics")
    podcasts = []
    for _ in range(2):
        accepted = generate_podcast.sync(client=client, body=request, idempotency_key="of-the-python-client")
        assert isinstance(accepted, Accepted)
        podcasts.append(accepted.podcast_id)
    read = read_topic.sync_detailed("tech_ai_ethics", client=client)
    assert isinstance(read.parsed, Topic)
    tag = read.headers["ETag"]
    again = read_topic.sync_detailed("tech_ai_ethics", client=client, if_none_match=tag)
    draft = TopicDraft(display_name="AI", description="", keywords=[])
    refused = put_topic.sync("tech_ai_ethics", client=editor, body=draft, if_match='"another"')
    assert isinstance(refused, ProblemDocument)
    told = {"podcasts": podcasts, "tag": tag, "unchanged": again.status_code, "refused": refused.type_}
print(json.dumps(told))
"""
"""Uses the client that openapi-python-client has made."""
