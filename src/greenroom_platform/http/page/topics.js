/** All topics at a glance, those that one follows first. */

import { ask } from './api.js';
import { h, replace } from './dom.js';
import { makeButton } from './podcasts.js';
import { preferButton } from './prefer.js';
import { changes, known, prefers } from './session.js';
import { tinted, wave } from './wave.js';

const SKELETONS = 6;

/** Every topic, as the API orders them. */
export async function readTopics(signal) {
  return (await ask('/topics', { signal })).data;
}

export async function topicsView(main, _parts, signal) {
  const grid = h('ul', { class: 'cards', 'aria-label': 'Topics' }, skeletons());
  replace(
    main,
    h(
      'header',
      { class: 'lead' },
      h('h1', { tabindex: '-1' }, 'Pick a topic.', h('span', { class: 'offer' }, ' Two voices tell you about it.')),
      h('p', {}, 'Read the short true stories yourself', h('span', { class: 'offer' }, ', or have a podcast made of them. It plays while it is being recorded'), '.'),
    ),
    grid,
  );
  // With the session, so that the cards stand in their order from the start.
  const [topics] = await Promise.all([readTopics(signal), known()]);
  if (signal.aborted) return '';
  if (!topics.length) {
    grid.replaceWith(h('div', { class: 'panel' }, h('h2', {}, 'No topics yet'), h('p', {}, 'An editor adds them. Come back later.')));
    return '';
  }
  const cards = new Map(topics.map((topic) => [topic.topic_id, card(topic, signal)]));
  const arrange = () => {
    const focused = document.activeElement;
    const first = topics.filter(({ topic_id: id }) => prefers(id));
    const ordered = [...first, ...topics.filter((topic) => !first.includes(topic))].map(({ topic_id: id }) => cards.get(id));
    if (ordered.every((one, at) => grid.children[at] === one)) return;
    replace(grid, ordered);
    // A card that moves takes the focus along.
    if (grid.contains(focused)) {
      focused.focus({ preventScroll: true });
      focused.scrollIntoView({ block: 'nearest' });
    }
  };
  arrange();
  changes.addEventListener('change', arrange, { signal });
  return '';
}

function card(topic, signal) {
  const { topic_id: id, display_name: name, description, keywords } = topic;
  const item = h(
    'li',
    { class: 'card' },
    wave(id, 120, { cut: true }),
    h('h2', {}, h('a', { href: `#/topics/${encodeURIComponent(id)}`, dir: 'auto' }, name)),
    h('p', { class: 'about', dir: 'auto' }, description),
    h('p', { class: 'keywords', dir: 'auto' }, keywords.slice(0, 4).join(' · ')),
    h('div', { class: 'actions' }, makeButton(topic, { kind: 'soft' }), preferButton(topic, signal)),
  );
  const mark = () => item.classList.toggle('preferred', prefers(id));
  mark();
  changes.addEventListener('change', mark, { signal });
  return tinted(item, id);
}

function skeletons() {
  return Array.from({ length: SKELETONS }, () => h('li', { class: 'card skeleton', 'aria-hidden': 'true' }));
}
