/** What operators have done: who, what, why, and what became of it. */

import { ask } from '/page/api.js';
import { h, replace } from '/page/dom.js';
import { inWords } from '/page/words.js';
import { moment, row, table } from './format.js';
import { morph } from './morph.js';

export function logView(main, signal) {
  const section = h('section', { class: 'sheet', 'aria-label': 'Actions' });
  main.append(h('h1', { tabindex: '-1' }, 'Log'), section);
  let older = [];
  const all = async () => {
    try {
      older = (await ask('/control/actions', { signal, quiet: true })).data;
      draw([]);
    } catch (error) {
      if (!signal.aborted) replace(section, h('p', { class: 'refusal' }, inWords(error)));
    }
  };
  const draw = (newest) => {
    const known = new Set(newest.map((one) => one.number));
    const actions = [...newest, ...older.filter((one) => !known.has(one.number))];
    morph(section,
      h('p', { class: 'hint' }, 'The last thousand actions. They are kept in the record, and outlive every restart.'),
      table('Actions', ['When', 'Who', 'What', 'Why', 'Outcome'], actions.map((one) => row(`${one.number}`, [
        moment(one.at), h('strong', {}, one.who), h('div', {}, capital(one.kind.replaceAll('_', ' ')), h('code', {}, one.target)), one.why,
        h('span', { class: `outcome${one.outcome.startsWith('failed: ') ? ' bad' : ''}` }, one.outcome),
      ])), 'Nobody has done anything yet.'));
  };
  all();
  return (summary) => {
    if (summary.actions_error) replace(section, h('p', { class: 'refusal' }, summary.actions_error));
    else draw(summary.actions);
  };
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}
