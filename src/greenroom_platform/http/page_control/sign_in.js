/** Signing in with a token, which no script of this page keeps: the session is a cookie that none can read. */

import { ask } from '/page/api.js';
import { form } from '/page/forms.js';
import { h, replace } from '/page/dom.js';
import { readSite } from '/page/site.js';

const NAME = 'greenroom-control-name';

/** The session of now; null without one. */
export async function session() {
  if (!(await readSite()).staff) return null;
  try {
    return (await ask('/staff/session', { quiet: true })).data;
  } catch (error) {
    if (error.status === 401) return null;
    throw error;
  }
}

export async function signOut() {
  await ask('/staff/session', { method: 'DELETE' });
}

/** Ask for name and token; calls `done` with the session. */
export function signInView(main, done, said = '') {
  const made = form({
    id: 'staff',
    title: 'Sign in',
    button: 'Sign in',
    fields: [
      { name: 'who', label: 'Your name', hint: 'The log has it beside whatever you do.', autocomplete: 'name', maxlength: 64 },
      { name: 'token', label: 'Token', hint: 'The editor token may act; the control token only looks.', type: 'password', autocomplete: 'current-password' },
    ],
    send: async (values) => {
      const { data } = await ask('/staff/session', { method: 'POST', body: values });
      keepName(values.who);
      done(data);
    },
  });
  made.querySelector('#staff-who').value = keptName();
  replace(main,
    h('div', { class: 'entrance' },
      h('div', { class: 'lead' },
        h('h1', { tabindex: '-1' }, 'How is it?'),
        h('p', {}, said || 'What is read, loaded and waited for in this Greenroom; what is ill, since when, and what to do about it.')),
      made));
  (made.querySelector('#staff-who').value ? made.querySelector('#staff-token') : made.querySelector('#staff-who')).focus();
}

function keptName() {
  try {
    return localStorage.getItem(NAME) ?? '';
  } catch {
    return '';
  }
}

function keepName(name) {
  try {
    localStorage.setItem(NAME, name);
  } catch {
    // Without storage one types it again.
  }
}
