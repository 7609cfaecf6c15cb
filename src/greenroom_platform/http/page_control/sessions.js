/** Sessions and listeners now, and the sessions of one user. */

import { ask } from '/page/api.js';
import { h, notify, replace } from '/page/dom.js';
import { inWords } from '/page/words.js';
import { reasoned } from './dialog.js';
import { facts, moment, number, row, since, table } from './format.js';
import { act, mayAct } from './live.js';
import { morph } from './morph.js';

export function sessionsView(main, signal) {
  const here = h('section', { class: 'sheet', 'aria-labelledby': 'here-title' });
  const refusal = h('p', { class: 'refusal', role: 'alert' });
  const input = h('input', { id: 'user', name: 'user', autocomplete: 'off', spellcheck: 'false', autocapitalize: 'none', 'aria-describedby': 'user-hint' });
  const found = h('div', { 'aria-live': 'polite' });
  const made = h('form', { method: 'post', novalidate: true, 'aria-labelledby': 'user-title' },
    h('h2', { id: 'user-title' }, 'Sessions of a user'),
    h('div', { class: 'field' }, h('label', { for: 'user' }, 'Name or id'), h('p', { class: 'hint', id: 'user-hint' }, 'Sessions are found by their user, never by their key: that would let you in.'), input),
    refusal, h('button', { type: 'submit', class: 'primary' }, 'Find'));
  main.append(h('h1', { tabindex: '-1' }, 'Sessions'), h('div', { class: 'pair' }, here, made), found);

  const find = async () => {
    const name = input.value.trim();
    refusal.textContent = '';
    if (!name) {
      refusal.textContent = 'Whose?';
      input.focus();
      return;
    }
    try {
      const { data } = await ask(`/control/users/${encodeURIComponent(name)}/sessions`, { signal, quiet: true });
      replace(found, listed(data, find));
    } catch (error) {
      if (signal.aborted) return;
      replace(found);
      refusal.textContent = inWords(error);
    }
  };
  made.addEventListener('submit', (event) => {
    event.preventDefault();
    find();
  });

  return ({ sessions }) => morph(here, h('h2', { id: 'here-title' }, 'Sessions and listeners'),
    sessions.error && h('p', { class: 'refusal' }, sessions.error),
    facts(
      ['Active sessions', sessions.active === null ? '–' : number(sessions.active)],
      ['Listening now', sessions.listeners === null ? '–' : number(sessions.listeners)],
      ['Begun a minute', number(sessions.started_per_minute)],
      ['Ended a minute', number(sessions.ended_per_minute)],
      ['Refused tokens a minute', number(sessions.refused_per_minute)],
    ));
}

function listed(user, again) {
  const end = async (handle) => {
    const done = await reasoned({
      title: handle ? 'End this session?' : `End all sessions of ${user.username}?`,
      effect: 'Whoever uses it is signed out at once, and its sockets are closed.',
      button: handle ? 'End it' : 'End them all',
      danger: true,
      work: (why) => act(`/users/${encodeURIComponent(user.user_id)}/sessions/end`, { handle, why }),
    });
    if (!done) return;
    notify(`Sessions of ${user.username}: ${done.outcome}.`);
    again();
  };
  return h('section', { class: 'sheet', 'aria-labelledby': 'found-title' },
    h('h2', { id: 'found-title' }, user.username),
    facts(['User id', h('code', {}, user.user_id)], ['Live sessions', number(user.sessions.length)]),
    table(`Sessions of ${user.username}`, ['Session', 'Began', 'Last seen', 'Listens to', mayAct() ? 'Action' : ''].filter(Boolean), user.sessions.map((one) => row(one.handle, [
      h('code', {}, one.handle.slice(0, 12)), [moment(one.started_at), h('span', { class: 'hint' }, `${since(one.started_at)} ago`)], `${since(one.last_activity_timestamp)} ago`, one.listens_to ? h('code', {}, one.listens_to.slice(0, 8)) : '–',
      ...(mayAct() ? [h('button', { type: 'button', class: 'small danger', on: { click: () => end(one.handle) } }, 'End')] : []),
    ])), 'This user has no live session.'),
    mayAct() && user.sessions.length > 0 && h('div', { class: 'actions' }, h('button', { type: 'button', class: 'danger', on: { click: () => end('') } }, 'End all of them')));
}
