/** What is said in a podcast, line by line along with the sound, and the stories that it was made of. */

import { ask } from './api.js';
import { h, replace } from './dom.js';
import { player } from './player.js';
import { storyAddress } from './snippets.js';
import { clock } from './words.js';

/** After the listener has moved the lines, they stay so long. */
const LEFT_ALONE = 6_000;

/**
 * The transcript, into its part of the page; nothing where there is none.
 *
 * @param mine whether the player plays this podcast
 * @param listen called to make it do so from a number of seconds on
 */
export async function showTranscript(part, podcastId, { mine, listen, signal }) {
  let found;
  try {
    found = (await ask(`/podcasts/${encodeURIComponent(podcastId)}/transcript`, { signal, quiet: true })).data;
  } catch (error) {
    // Recordings of before there were transcripts have none.
    if (signal.aborted || error.name === 'Problem') return;
    throw error;
  }
  if (signal.aborted || !found.lines.length) return;
  const { lines, snippets } = found;
  const rows = lines.map((line, at) => h(
    'li',
    {},
    h(
      'button',
      { type: 'button', class: 'line', tabindex: at === 0 ? '0' : '-1', on: { click: () => { if (mine()) player.seek(line.start_seconds); else listen(line.start_seconds); } } },
      h('span', { class: 'at' }, clock(line.start_seconds)),
      h('span', {}, h('strong', {}, line.speaker), ' ', h('span', { dir: 'auto' }, line.text)),
    ),
  ));
  const box = h('ol', { class: 'lines', 'aria-label': 'Transcript' }, rows);
  replace(
    part,
    h('section', { class: 'transcript', 'aria-labelledby': 'transcript-title' }, h('h2', { id: 'transcript-title' }, 'Transcript'), box),
    snippets.length > 0 && h(
      'section',
      { class: 'sources', 'aria-labelledby': 'sources-title' },
      h('h2', { id: 'sources-title' }, 'Made from these stories'),
      h('ul', {}, snippets.map((snippet) => h('li', {}, h('a', { href: storyAddress(snippet), dir: 'auto' }, snippet.title)))),
    ),
  );

  // One stop for the key Tab, and the arrows from line to line: the player must not be a hundred stops away.
  const stopAt = (at) => rows.forEach((row, number) => { row.firstChild.tabIndex = number === at ? 0 : -1; });
  box.addEventListener('keydown', (event) => {
    const at = rows.findIndex((row) => row.contains(document.activeElement));
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (next === undefined || !rows[next]) return;
    event.preventDefault();
    stopAt(next);
    rows[next].firstChild.focus();
  });

  let current = -1;
  let touched = 0;
  for (const event of ['wheel', 'pointerdown', 'keydown', 'touchmove']) {
    box.addEventListener(event, () => { touched = Date.now(); }, { passive: true });
  }
  function follow() {
    const at = mine() ? lines.findLastIndex((line) => line.start_seconds <= player.time + 0.05) : -1;
    if (at === current) return;
    rows[current]?.firstChild.removeAttribute('aria-current');
    current = at;
    if (at < 0) return;
    rows[at].firstChild.setAttribute('aria-current', 'true');
    if (!box.contains(document.activeElement)) stopAt(at);
    // Within its box only: the page itself stays where the listener has it.
    if (Date.now() - touched > LEFT_ALONE) {
      box.scrollTo({ top: rows[at].offsetTop - box.clientHeight / 3, behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth' });
    }
  }
  player.addEventListener('time', follow, { signal });
  player.addEventListener('change', follow, { signal });
  follow();
}
