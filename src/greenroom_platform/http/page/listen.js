/** One podcast: how far its making is, and everything one can do with it. */

import { ask } from './api.js';
import { address } from './controls.js';
import { announce, h, icon, replace } from './dom.js';
import { player } from './player.js';
import { podcastWave } from './podcast_wave.js';
import { makeButton } from './podcasts.js';
import { SOON, watchQueue } from './queue.js';
import { isWhole, recording } from './recording.js';
import { known } from './session.js';
import { STEPS, follow as followStatus, isTerminal, rank } from './status.js';
import { showTranscript } from './transcript.js';
import { tinted } from './wave.js';
import { day, length, onDay, sentence } from './words.js';

export async function listenView(main, [podcastId, topicId], signal) {
  const [found] = await Promise.all([details(podcastId, signal), known()]);
  if (signal.aborted) return '';
  const topicHref = `#/topics/${encodeURIComponent(found?.topic_id ?? topicId ?? '')}`;
  const podcast = { podcastId, topicId: found?.topic_id ?? topicId ?? '', title: found?.topic_name ?? 'A podcast' };
  const drawing = podcastWave(mine, signal);
  const made = h('p', { class: 'when made' });
  const steps = h('ol', { class: 'steps', 'aria-label': 'How far it is' });
  const state = h('p', { class: 'making' }, 'Asking how far it is.');
  const listen = h('button', { type: 'button', class: 'primary', on: { click: act } }, icon('play'), h('span', {}, 'Listen'));
  const download = h('a', { class: 'button', href: recording(podcastId), download: `${podcast.title}.webm` }, 'Download');
  const copy = h('button', { type: 'button', on: { click: share } }, 'Copy link');
  const doing = h('div', { class: 'actions' }, listen, download, copy);
  const topic = { topic_id: podcast.topicId, display_name: podcast.title };
  const again = h('div', { class: 'actions' }, found && makeButton(topic, { instead: true }), h('a', { class: 'button', href: found ? topicHref : '#/' }, found ? 'Back to the topic' : 'All topics'));
  const source = h('p', { class: 'when' }, found && h('a', { href: topicHref, dir: 'auto' }, `All stories about ${podcast.title}`));
  const words = h('div', { class: 'words' });
  replace(
    main,
    tinted(
      h(
        'article',
        { class: 'podcast' },
        h(
          'div',
          { class: 'sound' },
          h('p', { class: 'kind' }, 'Podcast'),
          h('h1', { tabindex: '-1', dir: 'auto' }, podcast.title),
          made,
          drawing,
          steps,
          state,
          doing,
          again,
          source,
        ),
        words,
      ),
      podcast.topicId || podcastId,
    ),
  );

  let status = null;
  let place = '';
  let waiting = null;
  let hasWords = false;
  // Of a podcast that was ready before one came, its making is no news.
  let watched = false;

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
    steps.hidden = failed || !watched;
    state.hidden = !failed && !watched;
    const text = told(status, place);
    if (state.textContent !== text) state.textContent = text;
    name();
    follow();
  }

  /** Two podcasts about one topic are told apart by when they were made, and how long they are. */
  function name() {
    const seconds = found?.duration_seconds ?? (mine() && player.whole ? player.end : 0);
    made.textContent = found ? [`${isWhole(status) ? 'Made' : 'Asked for'} ${onDay(found.created_at)}`, seconds && isWhole(status) && length(seconds)].filter(Boolean).join(' · ') : '';
  }

  function follow() {
    if (status.status === 'queued' && !waiting) {
      waiting = new AbortController();
      const over = () => waiting.abort();
      signal.addEventListener('abort', over);
      watchQueue(podcastId, (text) => { place = text; show(); }, waiting.signal);
    } else if (status.status !== 'queued') {
      waiting?.abort();
    }
    if (isWhole(status) && !hasWords) {
      hasWords = true;
      const from = (at) => player.listen(podcast, { at });
      showTranscript(words, podcastId, { mine, listen: from, signal }).catch(() => {});
    }
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
    followStatus(podcastId, (now) => {
      const before = status;
      status = now;
      watched ||= !isTerminal(now.status);
      show();
      if (before && before.status !== now.status) announce(told(now));
      resolve();
    }, signal).then(resolve, reject);
  });
  // A link to a podcast is followed to hear it; what plays already plays on.
  if (!player.podcast && status.status !== 'error') player.listen(podcast, { play: false });
  return found ? `${podcast.title}, ${day(found.created_at)}` : podcast.title;
}

function told(status, place = '') {
  if (status.status === 'error') return sentence(status.error_message || 'This podcast could not be made');
  if (isTerminal(status.status)) return 'Ready.';
  const left = status.estimated_completion_time ? (new Date(status.estimated_completion_time) - Date.now()) / 1000 : 0;
  const about = left > 1 ? ` About ${Math.ceil(left)} seconds to go.` : '';
  const words = {
    queued: place || SOON,
    script_generating: 'The stories are being woven into a conversation.',
    audio_rendering: 'The voices are being recorded. You can listen already.',
  };
  return `${words[status.status] ?? ''}${about}`;
}

async function details(podcastId, signal) {
  try {
    return (await ask(`/podcasts?ids=${encodeURIComponent(podcastId)}`, { signal, quiet: true })).data[0] ?? null;
  } catch (error) {
    // What cannot be an id is told by its status, as what is unknown is; what is busy has no date.
    if (error.status === 422 || error.status === 429) return null;
    throw error;
  }
}
