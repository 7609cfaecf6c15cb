/** "My podcasts": what one has listened to, and how far. */

import { address } from './controls.js';
import { h, icon, notify, replace } from './dom.js';
import { ownFeedButton } from './feed.js';
import { forget, placeOf, readHistory, wasHeard } from './history.js';
import { player } from './player.js';
import { changes, known, session } from './session.js';
import { clock, day, inWords, length } from './words.js';
import { tinted, wave } from './wave.js';

export async function mineView(main, _parts, signal) {
  const list = h('ul', { class: 'podcasts', 'aria-label': 'My podcasts' }, h('li', { class: 'skeleton tall' }));
  const where = h('p', {});
  const rest = h('div', {});
  const doing = h('p', { class: 'actions' });
  replace(main, h('header', { class: 'lead small' }, h('h1', { tabindex: '-1' }, 'My podcasts'), where, doing), list, rest);
  await known();
  let turn = 0;

  async function show(page = 1) {
    turn += 1;
    const mine = turn;
    const { entries, more } = await readHistory(page, signal);
    if (signal.aborted || mine !== turn) return;
    replace(where, ...told());
    replace(doing, session.userId !== null && entries.length > 0 && ownFeedButton());
    const rows = entries.map((entry) => row(entry, () => { if (!list.children.length) empty(); }));
    if (page === 1) replace(list, rows);
    else list.append(...rows);
    if (page === 1 && !entries.length) empty();
    else replace(rest, more && h('p', { class: 'actions' }, moreButton(page + 1, rows.length)));
  }

  function moreButton(page) {
    return h('button', { type: 'button', on: { click: async () => {
      const before = list.children.length;
      try {
        await show(page);
        list.children[before]?.querySelector('a')?.focus();
      } catch (error) {
        notify(inWords(error));
      }
    } } }, 'Show older ones');
  }

  function empty() {
    replace(list);
    replace(rest, h(
      'div',
      { class: 'panel' },
      h('p', {}, 'Nothing yet. Whatever you listen to is found here again.'),
      h('p', { class: 'actions' }, h('a', { class: 'button', href: '#/' }, 'Pick a topic')),
    ));
  }

  let user = session.userId;
  changes.addEventListener('change', () => {
    if (session.userId === user) return;
    user = session.userId;
    show().catch((error) => notify(inWords(error)));
  }, { signal });
  await show();
  return 'My podcasts';
}

function told() {
  return session.userId === null
    ? ['Kept in this browser. ', h('a', { href: '#/you' }, 'Sign in'), ' to find them wherever you are.']
    : ['What you have listened to, the latest first.'];
}

function row(found, gone) {
  // What plays at this moment is further than what was noted of it.
  const entry = player.podcast?.podcastId === found.podcast_id && player.phase !== 'waiting' ? { ...found, position_seconds: player.time } : found;
  const { podcast_id: podcastId, topic_id: topicId, topic_name: title, duration_seconds: duration, position_seconds: at } = entry;
  const podcast = { podcastId, topicId, title };
  const made = `${day(entry.created_at)}${duration ? ` · ${length(duration)}` : ''}`;
  const heard = wasHeard(entry);
  const begun = at > 0 && !heard;
  const act = heard ? 'Listen again' : begun ? 'Go on' : 'Listen';
  const item = h(
    'li',
    {},
    wave(topicId, 16),
    h(
      'div',
      { class: 'what' },
      h('h2', {}, h('a', { href: address(podcast), dir: 'auto' }, title)),
      h('p', { class: 'when' }, made, ' · ', progress(entry, heard)),
      begun && duration > 0 && h('progress', { max: duration, value: at, 'aria-label': `How much of ${title} was heard` }),
    ),
    entry.status !== 'error' && h('button', { type: 'button', class: 'soft', 'aria-label': `${act}: ${title}, ${made}`, on: { click: listen } }, icon('play'), h('span', {}, act)),
    h('button', { type: 'button', class: 'plain', 'aria-label': `Remove ${title}, ${made}`, on: { click: remove } }, icon('close')),
  );

  function listen() {
    player.listen(podcast, { at: placeOf(entry) });
    location.hash = address(podcast);
  }

  async function remove() {
    const next = (item.nextElementSibling || item.previousElementSibling)?.querySelector('a');
    try {
      await forget(podcastId);
    } catch (error) {
      notify(`It could not be removed. ${inWords(error)}`);
      return;
    }
    item.remove();
    (next || document.querySelector('#main h1')).focus({ preventScroll: true });
    gone();
  }

  return tinted(item, topicId);
}

function progress({ status, duration_seconds: duration, position_seconds: at }, heard) {
  if (status === 'error') return 'could not be made';
  if (status !== 'ready_to_stream') return 'is being made';
  if (heard) return 'heard to the end';
  if (at > 0) return duration ? `${clock(at)} of ${clock(duration)}` : `up to ${clock(at)}`;
  return 'not heard yet';
}
