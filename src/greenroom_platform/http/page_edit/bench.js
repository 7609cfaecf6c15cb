/** The frame of every view: the list of topics at the side, which stays as it is, and the view beside it. */

import { h, replace } from '/page/dom.js';
import { pane } from './pane.js';

/**
 * Show a view's content beside the list; on a narrow screen the list is shown by the library alone.
 *
 * @param at 'library' or another name of a view, for the style sheet
 * @param current the id of the topic that the view is about
 */
export function onBench(main, at, content, { current = null } = {}) {
  let bench = main.querySelector(':scope > .bench');
  // The list is not taken out and put back: it would lose how far it is scrolled.
  if (!bench) {
    bench = h('div', { class: 'bench' }, pane.element, h('div', { class: 'content' }));
    replace(main, bench);
  }
  bench.dataset.at = at;
  replace(bench.querySelector('.content'), content);
  pane.mark(current);
  pane.reveal();
}

/**
 * What stands there until the view has come; nothing where the frame is there already, and shows the last one.
 *
 * @param anew whether the last one must not be typed into any more
 */
export function awaited(main, at, { anew = false } = {}) {
  if (anew || !main.querySelector(':scope > .bench')) onBench(main, at, h('div', { class: 'skeleton taller', 'aria-hidden': 'true' }));
}

/** The way back: [[text, address], …]. */
export function trail(...steps) {
  return h('nav', { class: 'trail', 'aria-label': 'Where this is' }, h('ol', {}, steps.map(([text, address]) => h('li', {}, h('a', { href: address }, text)))));
}
