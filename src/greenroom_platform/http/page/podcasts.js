/** "Make me a podcast": asked for once a click, however often the request has to be sent. */

import { ask } from './api.js';
import { address } from './controls.js';
import { announce, h, icon, notify } from './dom.js';
import { player } from './player.js';
import { back } from './reach.js';
import { go } from './router.js';
import { inWords } from './words.js';

const TRIES = 4;
const PAUSE = 3_000;

/** A button that makes a podcast about a topic, plays it and leads to it. */
export function makeButton(topic, kind = 'primary') {
  const label = h('span', {}, 'Make me a podcast');
  const button = h('button', { type: 'button', class: kind, 'aria-label': `Make me a podcast about ${topic.display_name}` }, icon('play'), label);
  button.addEventListener('click', async () => {
    // Not `disabled`: that would throw the focus of a keyboard away.
    if (button.getAttribute('aria-disabled') === 'true') return;
    button.setAttribute('aria-disabled', 'true');
    label.textContent = 'Asking';
    try {
      await make(topic);
    } finally {
      button.removeAttribute('aria-disabled');
      label.textContent = 'Make me a podcast';
    }
  });
  return button;
}

async function make(topic) {
  const title = topic.display_name;
  player.prepare(title);
  try {
    const { podcast_id: podcastId } = await generate(topic.topic_id, key());
    const podcast = { podcastId, topicId: topic.topic_id, title };
    player.listen(podcast);
    go(address(podcast));
  } catch (error) {
    if (player.prepared) player.stop();
    const text = `No podcast was made. ${inWords(error)}`;
    notify(text);
    announce(text);
  }
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
