/** One's own corner: preferences, signing up, in and out, and one's sessions. */

import { announce, h, notify, replace } from './dom.js';
import { form } from './forms.js';
import { deletionForm } from './leaving.js';
import { preferencesPart } from './preferences.js';
import { OVER, changePassword, changes, end, endAll, own, session, signIn, signOut, signUp, username } from './session.js';
import { readTopics } from './topics.js';
import { ago, inWords } from './words.js';

const NAME = { name: 'username', label: 'Name', autocomplete: 'username', maxlength: 64 };
const PASSWORD = { name: 'password', label: 'Password', type: 'password', maxlength: 256 };

export async function youView(main, _parts, signal) {
  const account = h('div', { class: 'account' });
  const sessions = h('div', {});
  const leaving = h('div', {});
  const title = h('h1', { tabindex: '-1' }, 'You');
  replace(main, h('header', { class: 'lead small' }, h('h1', { tabindex: '-1' }, 'You')), h('div', { class: 'skeleton taller' }));
  const topics = await readTopics(signal);
  if (signal.aborted) return '';
  replace(
    main,
    h('header', { class: 'lead small' }, title, h('p', { id: 'who' })),
    h('div', { class: 'you' }, account, preferencesPart(topics, signal)),
    h('div', { class: 'you' }, sessions, leaving),
  );
  let shown;
  const show = () => {
    const who = document.getElementById('who');
    if (who) who.textContent = greeting();
    // A form keeps what was typed into it while only preferences change.
    const state = `${session.exists} ${session.userId}`;
    if (state === shown) return;
    shown = state;
    title.textContent = session.userId === null ? 'Sign in' : 'You';
    replace(leaving, session.userId !== null && deletionForm());
    replace(account, session.userId === null ? [signInForm(), signUpForm()] : [signedIn(), passwordForm(sessions, signal)]);
    showSessions(sessions, signal);
  };
  changes.addEventListener('change', show, { signal });
  show();
  return title.textContent;
}

/** What the link to this view says. */
export function showWho() {
  const link = document.getElementById('you');
  changes.addEventListener('change', () => {
    link.textContent = session.userId === null ? 'Sign in' : username() || 'You';
  });
  changes.addEventListener('over', () => notify(OVER));
}

function greeting() {
  if (session.userId === null) return 'You are not signed in. What you choose is kept for this visit.';
  const name = username();
  return name ? `You are signed in as ${name}.` : 'You are signed in.';
}

function signInForm() {
  return form({
    id: 'sign-in',
    title: 'Sign in',
    button: 'Sign in',
    fields: [NAME, { ...PASSWORD, autocomplete: 'current-password' }],
    send: ({ username: name, password }) => entered(signIn(name, password)),
  });
}

function signUpForm() {
  return form({
    id: 'sign-up',
    title: 'New here?',
    button: 'Sign up',
    fields: [
      { ...NAME, minlength: 3, hint: '3–64 letters, digits or . - _ ~' },
      { ...PASSWORD, minlength: 8, hint: '8 characters or more', autocomplete: 'new-password' },
    ],
    send: async ({ username: name, password }) => {
      await signUp(name, password);
      await entered(signIn(name, password));
    },
  });
}

async function entered(signing) {
  await signing;
  announce(greeting());
  document.querySelector('#main h1')?.focus();
}

function signedIn() {
  return h(
    'section',
    { class: 'sheet', 'aria-labelledby': 'account-title' },
    h('h2', { id: 'account-title' }, 'Account'),
    h('p', {}, 'Your preferences and your podcasts are kept with your account, and are there again wherever you sign in.'),
    h('p', { class: 'actions' }, acting('Sign out', 'button', signOut, 'You are signed out.')),
  );
}

function passwordForm(sessions, signal) {
  const made = form({
    id: 'new-password',
    title: 'Change your password',
    button: 'Change it',
    fields: [
      { ...PASSWORD, name: 'current_password', label: 'Current password', autocomplete: 'current-password' },
      { ...PASSWORD, name: 'new_password', label: 'New password', minlength: 8, hint: '8 characters or more', autocomplete: 'new-password' },
    ],
    send: async (given) => {
      await changePassword(given.current_password, given.new_password);
      made.reset();
      announce('Your password is changed. You are signed out everywhere else.');
      await showSessions(sessions, signal);
    },
  });
  return made;
}

async function showSessions(part, signal) {
  if (session.userId === null) {
    replace(part);
    return;
  }
  let found;
  try {
    found = await own(signal);
  } catch (error) {
    if (!signal.aborted) replace(part, h('section', { class: 'sheet' }, h('h2', {}, 'Your sessions'), h('p', {}, inWords(error))));
    return;
  }
  if (signal.aborted) return;
  const title = h('h2', { id: 'sessions-title', tabindex: '-1' }, 'Your sessions');
  const again = () => showSessions(part, signal).then(() => document.getElementById('sessions-title')?.focus());
  replace(
    part,
    h(
      'section',
      { class: 'sheet', 'aria-labelledby': 'sessions-title' },
      title,
      h('p', { class: 'hint' }, 'Everywhere you are signed in. Don’t recognise one? End it.'),
      h('ul', { class: 'sessions' }, found.map((one) => sessionRow(one, again))),
      h(
        'p',
        { class: 'actions' },
        acting('Sign out everywhere', 'button danger', endAll, 'You are signed out everywhere.'),
        h('span', { class: 'hint' }, 'This one too: you will have to sign in again.'),
      ),
    ),
  );
}

function sessionRow(one, again) {
  const begun = `started ${ago(one.started_at)}`;
  const label = `Sign out ${one.current ? 'this browser' : `the session ${begun}`}`;
  const button = acting('Sign out', 'button', async () => {
    await end(one);
    if (!one.current) await again();
  }, 'The session has ended.', label);
  return h(
    'li',
    {},
    h('div', {}, h('strong', {}, one.current ? 'This browser' : 'Another browser'), h('p', { class: 'when' }, `${begun}, last active ${ago(one.last_activity_timestamp)}`)),
    button,
  );
}

function acting(text, kind, act, done, label = null) {
  const button = h('button', { type: 'button', class: kind, 'aria-label': label }, text);
  button.addEventListener('click', async () => {
    if (button.getAttribute('aria-disabled') === 'true') return;
    button.setAttribute('aria-disabled', 'true');
    try {
      await act();
      announce(done);
      // The button went with what it ended: the focus must not go with it.
      if (!button.isConnected && document.activeElement === document.body) document.querySelector('#main h1')?.focus();
    } catch (error) {
      notify(inWords(error));
    } finally {
      button.removeAttribute('aria-disabled');
    }
  });
  return button;
}
