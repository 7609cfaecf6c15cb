/** The keys of the player, wherever one is on the page, and what is said of them. */

import { h } from './dom.js';
import { player } from './player.js';

/** Seconds by which an arrow moves. */
export const STRIDE = 10;
const CONTROLS = 'a, button, input, select, textarea, summary, [role=slider], [contenteditable]';
/** Whatever uses the arrows itself keeps them. */
const USES_ARROWS = 'input, select, textarea, [role=slider], [data-arrows]';

export function watchKeys() {
  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (player.phase === 'idle' || document.querySelector('dialog[open]')) return;
    const at = event.target instanceof Element ? event.target : document.body;
    const stride = { ArrowLeft: -STRIDE, ArrowRight: STRIDE }[event.key];
    if (event.key === ' ' && !at.closest(CONTROLS)) {
      event.preventDefault();
      if (!event.repeat && player.playable) player.toggle();
    } else if (stride && !at.closest(USES_ARROWS)) {
      event.preventDefault();
      player.skip(stride);
    }
  });
}

/** What the keys do, shown when it is asked for: the button, and the list that belongs to it. */
export function keysHelp(icon) {
  const list = h(
    'dl',
    { class: 'keys-list', id: 'keys-list', hidden: true },
    [
      [['Space'], 'Play or pause, when nothing else is selected'],
      [['←', '→'], `${STRIDE} seconds back or forward`],
      [['Home', 'End'], 'To the beginning or the end, on the slider'],
    ].map(([keys, does]) => h('div', {}, h('dt', {}, keys.map((key) => h('kbd', {}, key))), h('dd', {}, does))),
  );
  const button = h('button', {
    type: 'button', class: 'plain keys-button', 'aria-label': 'Keyboard', 'aria-expanded': 'false', 'aria-controls': 'keys-list', on: { click: turn },
  }, icon);
  function turn() {
    list.hidden = !list.hidden;
    button.setAttribute('aria-expanded', String(!list.hidden));
  }
  function close() {
    if (!list.hidden) turn();
  }
  return { button, list, close };
}
