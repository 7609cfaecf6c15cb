/** The quiet line at the foot: where the last answer came from, and how long it took. */

import { h, replace } from './dom.js';
import { traffic } from './api.js';
import { milliseconds } from './words.js';

const PLACES = ['near', 'valkey', 'record'];
const NAMES = { near: 'near cache', valkey: 'Valkey', record: 'record' };
const tally = { near: 0, valkey: 0, record: 0 };

export function showFooter() {
  const foot = document.getElementById('foot');
  const path = h('ol', { class: 'travelled', 'aria-hidden': 'true' }, PLACES.map((place) => h('li', {}, NAMES[place])));
  const line = h('p', { id: 'provenance' }, 'No answer from the cache yet.');
  const counts = h('p', { class: 'counts' });
  replace(foot, path, h('div', {}, line, counts), h('p', { class: 'links' }, h('a', { href: '/docs' }, 'API')));
  traffic.addEventListener('answer', ({ detail }) => {
    const { place, how } = detail.source;
    tally[place] += 1;
    foot.dataset.source = place;
    [...path.children].forEach((item, at) => { item.className = at <= PLACES.indexOf(place) ? 'passed' : ''; });
    replace(
      line,
      'Last answer: ',
      h('strong', {}, place === 'record' ? 'the record' : place === 'near' ? 'the near cache' : 'Valkey'),
      ` (${how}) in `,
      h('strong', {}, `${milliseconds(detail.milliseconds)} ms`),
      '.',
    );
    line.title = detail.path;
    replace(counts, `Since you opened this page: ${tally.near} near, ${tally.valkey} Valkey, ${tally.record} record.`);
  });
}
