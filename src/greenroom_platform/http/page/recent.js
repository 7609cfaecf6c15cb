/** A recording that there is already: offered before a new one is made. */

import { ask } from './api.js';
import { address } from './controls.js';
import { h, icon } from './dom.js';
import { player } from './player.js';
import { go } from './router.js';
import { length, onDay } from './words.js';

const DAYS = 7;

/** The latest recording of a topic, or null where there is none of this week. */
export async function recentRecording(topicId, signal) {
  try {
    const { data } = await ask(`/topics/${encodeURIComponent(topicId)}/podcasts?limit=1`, { signal, quiet: true });
    const [latest] = data;
    return latest && Date.now() - new Date(latest.created_at) < DAYS * 86_400_000 ? latest : null;
  } catch (error) {
    if (signal?.aborted) throw error;
    // Nothing is lost: a new one can be made.
    return null;
  }
}

/** "the one made today (5 min)" */
export function named({ created_at: created, duration_seconds: seconds }) {
  return `the one made ${onDay(created)}${seconds ? ` (${length(seconds)})` : ''}`;
}

/** Play a recording of a topic, and lead to it. */
export function listenTo(topic, recording) {
  const podcast = { podcastId: recording.podcast_id, topicId: topic.topic_id, title: topic.display_name };
  player.listen(podcast);
  go(address(podcast));
}

export function listenButton(topic, recording) {
  return h('button', { type: 'button', class: 'primary', on: { click: () => listenTo(topic, recording) } }, icon('play'), h('span', {}, `Listen to ${named(recording)}`));
}
