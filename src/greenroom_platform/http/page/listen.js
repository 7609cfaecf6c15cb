/** One podcast: how far its making is, and everything one can do with it. */

import { ask } from './api.js';
import { address } from './controls.js';
import { announce, h, icon, replace } from './dom.js';
import { player } from './player.js';
import { podcastWave } from './podcast_wave.js';
import { makeButton } from './podcasts.js';
import { isWhole, recording } from './recording.js';
import { known } from './session.js';
import { STEPS, follow, isTerminal, rank } from './status.js';
import { sentence } from './words.js';
import { tinted } from './wave.js';

export async function listenView(main, [podcastId, topicId], signal) {
  const [name] = await Promise.all([topicId ? nameOf(topicId, signal) : '', known()]);
  if (signal.aborted) return '';
  const podcast = { podcastId, topicId: topicId || '', title: name || 'A podcast' };
  const drawing = podcastWave(mine, signal);
  const steps = h('ol', { class: 'steps', 'aria-label': 'How far it is' });
  const state = h('p', { class: 'making' }, 'Asking how far it is.');
  const listen = h('button', { type: 'button', class: 'primary', on: { click: act } }, icon('play'), h('span', {}, 'Listen'));
  const download = h('a', { class: 'button', href: recording(podcastId), download: `${podcast.title}.webm` }, 'Download');
  const copy = h('button', { type: 'button', on: { click: share } }, 'Copy link');
  const doing = h('div', { class: 'actions' }, listen, download, copy);
  const topic = `#/topics/${encodeURIComponent(topicId || '')}`;
  const again = h('div', { class: 'actions' }, name && makeButton({ topic_id: topicId, display_name: name }), h('a', { class: 'button', href: name ? topic : '#/' }, name ? 'Back to the topic' : 'All topics'));
  const source = h('p', { class: 'when' }, name && 'Made from ', name && h('a', { href: topic }, `the stories on ${name}`), name && '.');
  replace(
    main,
    tinted(
      h(
        'article',
        { class: 'podcast' },
        h('p', { class: 'kind' }, 'Podcast'),
        h('h1', { tabindex: '-1', dir: 'auto' }, podcast.title),
        drawing,
        steps,
        state,
        doing,
        again,
        source,
      ),
      topicId || podcastId,
    ),
  );

  let status = null;

  function act() {
    if (mine()) player.toggle();
    else player.listen(podcast);
  }

  function mine() {
    return player.podcast?.podcastId === podcastId;
  }

  function show() {
    listen.lastChild.textContent = mine() && player.on ? 'Pause' : 'Listen';
    replace(listen, icon(mine() && player.on ? 'pause' : 'play'), listen.lastChild);
    const failed = status?.status === 'error';
    // Shown and hidden, not made anew: what has the focus keeps it.
    for (const one of [doing, source, drawing]) one.hidden = !status || failed;
    download.hidden = !isWhole(status);
    again.hidden = !failed;
    if (!status) return;
    const at = failed ? STEPS.length : rank(status.status);
    replace(steps, failed ? [] : STEPS.map(([, text], step) => h(
      'li',
      { class: step < at || isWhole(status) ? 'done' : step === at ? 'now' : '', 'aria-current': step === at ? 'step' : false },
      h('span', { class: 'dot', 'aria-hidden': 'true' }, step < at || isWhole(status) ? icon('done') : null),
      text,
    )));
    steps.hidden = failed;
    if (state.textContent !== told(status)) state.textContent = told(status);
  }

  async function share() {
    const url = new URL(address(podcast), location.href).href;
    try {
      await navigator.clipboard.writeText(url);
      announce('The link was copied.');
      copy.textContent = 'Copied';
    } catch {
      prompt('The link to this podcast', url);
    }
  }

  player.addEventListener('change', show, { signal });
  // The first status decides what this view is; the others come while it is looked at.
  await new Promise((resolve, reject) => {
    follow(podcastId, (found) => {
      const before = status;
      status = found;
      show();
      if (before && before.status !== found.status) announce(told(found));
      resolve();
    }, signal).then(resolve, reject);
  });
  // A link to a podcast is followed to hear it; what plays already plays on.
  if (!player.podcast && status.status !== 'error') player.listen(podcast, { play: false });
  return podcast.title;
}

function told(status) {
  if (status.status === 'error') return sentence(status.error_message || 'This podcast could not be made');
  if (isTerminal(status.status)) return 'Ready.';
  const left = status.estimated_completion_time ? (new Date(status.estimated_completion_time) - Date.now()) / 1000 : 0;
  const about = left > 1 ? ` About ${Math.ceil(left)} seconds to go.` : '';
  const words = {
    queued: 'It begins as soon as a studio is free.',
    script_generating: 'The stories are being woven into a conversation.',
    audio_rendering: 'The voices are being recorded. You can listen already.',
  };
  return `${words[status.status] ?? ''}${about}`;
}

async function nameOf(topicId, signal) {
  try {
    return (await ask(`/topics/${encodeURIComponent(topicId)}`, { signal })).data.display_name;
  } catch (error) {
    // The podcast outlives its topic.
    if (error.status === 404 || error.status === 422) return '';
    throw error;
  }
}
