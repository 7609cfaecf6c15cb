/** One key by keyspace and parts: what is near, on the server and in the record; and dropping it, its group, or all. */

import { ask } from '/page/api.js';
import { h, notify, replace } from '/page/dom.js';
import { inWords, sentence } from '/page/words.js';
import { reasoned } from './dialog.js';
import { bytes, facts, span } from './format.js';
import { act, mayAct } from './live.js';

const AGREEMENT = {
  same: ['good', 'The cache and the record say the same.'],
  differs: ['bad', 'The cache says something else than the record. It is served until it expires, or is dropped.'],
  record_has_none: ['bad', 'The record has nothing, and the cache still has a value. It is served until it expires, or is dropped.'],
  only_record: ['good', 'Only the record has it: the next reader loads it.'],
  neither: ['good', 'Neither the cache nor the record has anything.'],
  unknown: ['unsure', 'They could not be compared.'],
};
const STATES = {
  value: 'a value',
  unreadable: 'something that nobody can read',
  absence: 'the memory that there is none',
  nothing: 'nothing',
  unknown: 'not known',
};

// It stays while other views are shown.
let asked = { keyspace: '', parts: {} };

export function keysView(main, signal) {
  const fields = h('div', { class: 'parts' });
  const choice = h('select', { id: 'keyspace', name: 'keyspace' });
  const refusal = h('p', { class: 'refusal', role: 'alert' });
  const pattern = h('code', { class: 'pattern' });
  const about = h('p', { class: 'hint' });
  const found = h('section', { class: 'key-view', 'aria-label': 'What was found', 'aria-live': 'polite' });
  const whole = h('div', { class: 'actions' });
  const submit = h('button', { type: 'submit', class: 'primary' }, 'Look up');
  const made = h('form', { id: 'look-up', method: 'post', novalidate: true, 'aria-labelledby': 'keys-title' },
    h('h2', { id: 'keys-title' }, 'Which key?'),
    h('div', { class: 'field' }, h('label', { for: 'keyspace' }, 'Keyspace'), choice),
    h('p', {}, pattern), about, fields, refusal, h('div', { class: 'actions' }, submit));
  main.append(h('h1', { tabindex: '-1' }, 'Keys'), h('div', { class: 'look-up' }, h('div', {}, made, whole), found));

  let keyspaces = [];
  const chosen = () => keyspaces.find((one) => one.name === choice.value);
  const values = () => Object.fromEntries([...fields.querySelectorAll('input')].map((input) => [input.name, input.value.trim()]));

  const choose = () => {
    const keyspace = chosen();
    pattern.textContent = keyspace.pattern;
    about.textContent = `${keyspace.purpose} Kept for ${span(keyspace.ttl_seconds)}${keyspace.fresh_seconds < keyspace.ttl_seconds ? `, fresh for ${span(keyspace.fresh_seconds)} of them` : ''}.`;
    replace(fields, Object.entries(keyspace.parts).map(([name, say]) => h('div', { class: 'field' },
      h('label', { for: `part-${name}` }, name),
      h('p', { class: 'hint', id: `part-${name}-hint` }, sentence(say.replaceAll('`', ''))),
      h('input', { id: `part-${name}`, name, autocomplete: 'off', spellcheck: 'false', autocapitalize: 'none', value: asked.keyspace === keyspace.name ? asked.parts[name] ?? '' : '', 'aria-describedby': `part-${name}-hint` }))));
    refusal.textContent = '';
    replace(whole, mayAct() && h('button', { type: 'button', class: 'danger', on: { click: () => dropAll(keyspace) } }, `Drop all of ${keyspace.name}`));
  };

  const lookUp = async () => {
    const keyspace = chosen();
    asked = { keyspace: keyspace.name, parts: values() };
    refusal.textContent = '';
    const missing = Object.entries(asked.parts).find(([, value]) => !value);
    if (missing) {
      refusal.textContent = `${missing[0]} is missing.`;
      fields.querySelector(`[name="${CSS.escape(missing[0])}"]`).focus();
      return;
    }
    submit.setAttribute('aria-disabled', 'true');
    try {
      const query = new URLSearchParams(asked.parts);
      const { data } = await ask(`/control/keys/${encodeURIComponent(keyspace.name)}?${query}`, { signal, quiet: true });
      replace(found, shown(data, keyspace, asked.parts, lookUp));
      // On a telephone it stands below the form, out of sight.
      found.scrollIntoView({ block: 'nearest' });
    } catch (error) {
      if (signal.aborted) return;
      refusal.textContent = inWords(error);
    } finally {
      submit.removeAttribute('aria-disabled');
    }
  };

  made.addEventListener('submit', (event) => {
    event.preventDefault();
    if (submit.getAttribute('aria-disabled') !== 'true') lookUp();
  });
  choice.addEventListener('change', choose);

  return (summary) => {
    const before = keyspaces.length;
    keyspaces = summary.keyspaces;
    if (before) return;
    replace(choice, keyspaces.map((one) => h('option', { value: one.name, selected: one.name === asked.keyspace }, `${one.name} · ${one.title}`)));
    choose();
  };
}

function shown(key, keyspace, parts, again) {
  const [kind, verdict] = AGREEMENT[key.record];
  const left = key.left_ms === null ? null : key.left_ms < 0 ? 'never expires' : span(key.left_ms / 1000);
  return h('div', { class: 'sheet' },
    h('h2', {}, h('code', {}, key.key)),
    h('p', { class: `verdict ${kind}` }, verdict, key.record_error ? ` ${sentence(key.record_error)}` : ''),
    facts(
      ['Near', key.near ? `yes, in ${key.process}` : `no, in ${key.process}`],
      ['On the server', STATES[key.state] + (key.served ? '' : '; nobody is given it, its keyspace was dropped')],
      key.error && ['Because', key.error],
      left && ['Lifetime left', `${left} of ${span(key.ttl_ms / 1000)}`],
      key.fresh !== null && ['Fresh', key.fresh ? 'yes' : 'no: the next reader is given it, and it is loaded behind'],
      key.bytes !== null && ['Size', bytes(key.bytes)],
      ['Lease', key.state === 'unknown' ? STATES.unknown : leaseOf(key.lease)],
      key.groups.length > 0 && ['Groups', key.groups.join(', ')],
    ),
    key.differences.length > 0 && differencesOf(key.differences),
    (key.cached ?? key.recorded) !== null && h('div', { class: 'bodies' }, bodyOf('In the cache', key.cached, key.state === 'unknown' ? 'Not known.' : 'Nothing.'), bodyOf('In the record', key.recorded, key.record_error ? 'Not known.' : 'Nothing.')),
    h('div', { class: 'actions' },
      h('button', { type: 'button', on: { click: again } }, 'Look again'),
      mayAct() && h('button', { type: 'button', class: 'danger', on: { click: () => dropKey(keyspace, parts, key, again) } }, 'Drop this key'),
      mayAct() && keyspace.groups.map((group, at) => h('button', { type: 'button', class: 'danger', on: { click: () => dropGroup(keyspace, group, parts, key.groups[at], again) } }, `Drop group ${key.groups[at]}`))));
}

function leaseOf(lease) {
  if (!lease) return 'nobody loads it';
  if (lease.failed) return `a load has just failed (${lease.failed}); nobody tries for ${span(lease.left_ms / 1000)}`;
  return `held by ${lease.holder.slice(0, 12)}…, for ${span(lease.left_ms / 1000)} unless it is renewed`;
}

function differencesOf(differences) {
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Differences' }, h('table', { class: 'differences' },
    h('thead', {}, h('tr', {}, ['Member', 'In the cache', 'In the record'].map((head) => h('th', { scope: 'col' }, head)))),
    h('tbody', {}, differences.map((one) => h('tr', {},
      h('th', { scope: 'row' }, h('code', {}, one.member)),
      h('td', { class: 'cached' }, one.cached === null ? h('em', {}, 'missing') : h('code', {}, one.cached)),
      h('td', { class: 'recorded' }, one.recorded === null ? h('em', {}, 'missing') : h('code', {}, one.recorded)))))));
}

function bodyOf(title, body, none) {
  return h('details', {}, h('summary', {}, title), body === null ? h('p', { class: 'hint' }, none) : h('pre', { tabindex: '0' }, body));
}

async function dropKey(keyspace, parts, key, again) {
  const done = await reasoned({
    title: 'Drop this key?',
    effect: `The next reader of ${key.key} loads it from the record.`,
    button: 'Drop it',
    work: (why) => act('/drops', { what: 'key', keyspace: keyspace.name, parts, why }),
  });
  if (!done) return;
  notify(`Dropped ${key.key}.`);
  again();
}

async function dropGroup(keyspace, group, parts, name, again) {
  const names = [...group.matchAll(/\{(\w+)\}/g)].map(([, part]) => part);
  const own = Object.fromEntries(names.map((part) => [part, parts[part]]));
  const done = await reasoned({
    title: 'Drop this group?',
    effect: `Every key of ${keyspace.name} in ${name} is loaded anew when it is next read.`,
    button: 'Drop the group',
    danger: true,
    work: (why) => act('/drops', { what: 'group', keyspace: keyspace.name, group, parts: own, why }),
  });
  if (!done) return;
  notify(`Dropped the group ${name}.`);
  again();
}

async function dropAll(keyspace) {
  const done = await reasoned({
    title: `Drop all of ${keyspace.name}?`,
    effect: 'Every value of this keyspace is loaded anew when it is next read, in every process. The record may have much to do for a while.',
    button: `Drop all of ${keyspace.name}`,
    danger: true,
    work: (why) => act('/drops', { what: 'keyspace', keyspace: keyspace.name, why }),
  });
  if (done) notify(`Dropped all of ${keyspace.name}.`);
}
