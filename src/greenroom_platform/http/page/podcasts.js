/** "Make me a podcast": asked for once a click, however often the request has to be sent. */

import { ask } from './api.js';
import { address } from './controls.js';
import { question } from './dialog.js';
import { announce, h, icon, notify } from './dom.js';
import { player } from './player.js';
import { back } from './reach.js';
import { listenTo, named, recentRecording } from './recent.js';
import { go } from './router.js';
import { site } from './site.js';
import { inWords } from './words.js';

const TRIES = 4;
const PAUSE = 3_000;

/**
 * A button that makes a podcast about a topic, plays it and leads to it; null where none can be made.
 *
 * @param options.instead there is a recording beside it: one is not asked again whether that would do
 */
export function makeButton(topic, { kind = 'primary', instead = false } = {}) {
  if (!site.podcasts) return null;
  const text = instead ? 'Make a new one' : 'Make me a podcast';
  const label = h('span', {}, text);
  const button = h('button', { type: 'button', class: kind, 'aria-label': `${text} about ${topic.display_name}` }, icon(instead ? 'new' : 'play'), label);
  button.addEventListener('click', async () => {
    // Not `disabled`: that would throw the focus of a keyboard away.
    if (button.getAttribute('aria-disabled') === 'true') return;
    button.setAttribute('aria-disabled', 'true');
    label.textContent = 'Asking';
    try {
      await make(topic, instead);
    } finally {
      button.removeAttribute('aria-disabled');
      label.textContent = text;
    }
  });
  return button;
}

async function make(topic, instead) {
  const title = topic.display_name;
  player.prepare(title);
  try {
    const [isEmpty, recent] = await Promise.all([hasNoStories(topic), instead ? null : recentRecording(topic.topic_id)]);
    if (isEmpty) {
      refuse(`There are no stories about ${title} yet, and so no podcast.`);
      return;
    }
    if (recent && !(await wantsNew(topic, recent))) return;
    if (recent) player.prepare(title);
    const { podcast_id: podcastId } = await generate(topic.topic_id, key());
    const podcast = { podcastId, topicId: topic.topic_id, title };
    player.listen(podcast);
    go(address(podcast));
  } catch (error) {
    refuse(`No podcast was made. ${inWords(error)}`);
  }
}

function refuse(text) {
  if (player.prepared) player.stop();
  notify(text);
  announce(text);
}

async function hasNoStories({ topic_id: id }) {
  try {
    return (await ask(`/snippets?topic_id=${encodeURIComponent(id)}`, { quiet: true })).data.length === 0;
  } catch (error) {
    // Whoever makes the podcast knows it, too.
    if (error.name !== 'Unreachable' && error.status !== 503) throw error;
    return false;
  }
}

async function wantsNew(topic, recent) {
  if (player.prepared) player.stop();
  const chosen = await question(
    topic.display_name,
    h('p', {}, `There is a podcast about this already. Listen to ${named(recent)}, or have a new one made?`),
    [{ name: 'listen', text: 'Listen to that one', kind: 'primary' }, { name: 'new', text: 'Make a new one' }],
  );
  if (chosen === 'listen') listenTo(topic, recent);
  return chosen === 'new';
}

// The key makes the repetition of a request whose answer was lost the same podcast, and not a second one.
async function generate(topicId, key) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const headers = { 'Idempotency-Key': key };
      return (await ask('/podcasts/generate', { method: 'POST', body: { topic_id: topicId }, headers })).data;
    } catch (error) {
      if (error.name !== 'Unreachable' || attempt >= TRIES) throw error;
      await back(PAUSE);
    }
  }
}

function key() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
