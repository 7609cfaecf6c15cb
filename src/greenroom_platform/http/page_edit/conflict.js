/** Somebody else has written meanwhile: both versions side by side, and what to do. */

import { h, replace } from '/page/dom.js';
import { differences } from './differences.js';
import { fieldset } from './fields.js';

/**
 * The part of the page that asks which version shall stay.
 *
 * @param base the values that `mine` was made of; where only one of the two has changed a field, a merge takes that one
 * @param keep, take, merge called with what shall be saved, with nothing, and with what was merged
 */
export function conflict({ fields, base, mine, theirs, keep, take, merge }) {
  const differing = fields.filter(({ name }) => mine[name] !== theirs[name]);
  const result = h('div', { class: 'merged' });
  const mergeByHand = () => {
    const start = Object.fromEntries(fields.map(({ name }) => [name, mine[name] === base[name] ? theirs[name] : mine[name]]));
    const merged = fieldset('merged', differing.map((one) => ({ ...one, hint: undefined })));
    merged.fill(start);
    replace(
      result,
      h('h3', { id: 'merge-heading', tabindex: '-1' }, 'The merged version'),
      h('p', { class: 'hint' }, 'It begins with your version, and with theirs where only they have changed a field.'),
      merged.rows,
      h('p', { class: 'actions' }, h('button', { type: 'button', class: 'primary', on: { click: () => { if (merged.check()) merge({ ...start, ...merged.values() }); } } }, 'Save the merged version')),
    );
    result.querySelector('h3').focus();
  };
  return h(
    'section',
    { class: 'conflict', 'aria-labelledby': 'conflict-title' },
    h('h2', { id: 'conflict-title', tabindex: '-1' }, 'Somebody else has changed it meanwhile'),
    h('p', {}, differing.length
      ? 'Nothing of yours is lost, and nothing of theirs is overwritten yet. Marked is where the two differ.'
      : 'They have written exactly what you have: there is nothing to save.'),
    differing.map((field) => pair(field, base[field.name], mine[field.name], theirs[field.name])),
    h(
      'p',
      { class: 'actions' },
      differing.length > 0 && button('Keep mine', 'primary', () => keep(mine)),
      button('Take theirs', 'button', take),
      differing.length > 0 && button('Merge by hand', 'button', mergeByHand),
    ),
    result,
  );
}

/** It is gone: somebody has deleted it. */
export function gone({ what, again, leave }) {
  return h(
    'section',
    { class: 'conflict', 'aria-labelledby': 'conflict-title' },
    h('h2', { id: 'conflict-title', tabindex: '-1' }, 'Somebody else has deleted it meanwhile'),
    h('p', {}, `What you have typed is still here. You can make a new ${what} of it, or let it go.`),
    h('p', { class: 'actions' }, button(`Make it anew`, 'primary', again), button('Let it go', 'button', leave)),
  );
}

function pair({ name, label, options }, base, mine, theirs) {
  const by = base === mine ? 'only they have changed it' : base === theirs ? 'only you have changed it' : 'both have changed it';
  const shown = (value) => (options ? options.find(([id]) => id === value)?.[1] ?? value : value);
  const side = (title, kind, text, other) => h(
    'div',
    { class: `side ${kind}` },
    h('h4', {}, title),
    h('p', { class: 'version', dir: 'auto' }, text ? differences(text, other).map(([part, differs]) => (differs ? h('mark', {}, part) : part)) : h('em', {}, 'empty')),
  );
  return h(
    'div',
    { class: 'pair', 'data-field': name },
    h('h3', {}, label, h('span', { class: 'by' }, ` ${by}`)),
    h('div', { class: 'sides' }, side(base === theirs ? 'Theirs, as it was' : 'Theirs, saved', 'theirs', shown(theirs), shown(mine)), side(base === mine ? 'Mine, as it was' : 'Mine, not saved', 'mine', shown(mine), shown(theirs))),
  );
}

function button(text, kind, click) {
  return h('button', { type: 'button', class: kind, on: { click } }, text);
}
