/** Who of the staff is signed in. The token is sent once, and kept nowhere; the cookie is not seen here. */

import { Problem, Unreachable, ask } from '/page/api.js';
import { announce, h, notify, replace } from '/page/dom.js';
import { form } from '/page/forms.js';
import { go } from '/page/router.js';
import { readSite } from '/page/site.js';
import { inWords } from '/page/words.js';

/** In the browser's storage: the name to sign in with again. No secret. */
const KEPT = 'greenroom.staff';

/** `role` is 'act', 'read', or null for nobody. */
export const staff = { role: null, who: '', until: null };
/** `change` whenever somebody has signed in or out. */
export const changes = new EventTarget();

let first = null;
let asking = null;

/** Resolves when it is known who is signed in, here or in the control room. */
export function known() {
  first ??= look().catch(() => {});
  return first;
}

async function look() {
  if ((await readSite()).staff) take((await ask('/staff/session')).data);
}

/** As `ask`. Where the session is over one signs in again, above whatever stands on the page, and the call goes on. */
export async function call(path, options = {}) {
  for (;;) {
    try {
      return await ask(path, options);
    } catch (error) {
      if (error.status !== 401) throw error;
      await signInAgain();
    }
  }
}

/** As `fetch` of the API, for what is no JSON; otherwise as `call`. */
export async function callRaw(path, options = {}) {
  for (;;) {
    const response = await fetch(`/api/v1${path}`, options).catch((error) => { throw new Unreachable(error); });
    if (response.ok) return response;
    if (response.status !== 401) throw new Problem(response.status, await response.json().catch(() => ({})), response.headers);
    await signInAgain();
  }
}

export async function signIn(token, who) {
  const { data } = await ask('/staff/session', { method: 'POST', body: { token, who } });
  keep(who);
  take(data);
}

export async function signOut() {
  await ask('/staff/session', { method: 'DELETE' });
  take(null);
}

/** A view for who may edit; others sign in first, and then see it. */
export function signedIn(view) {
  return (main, parts, signal) => {
    if (staff.role === 'act') return view(main, parts, signal);
    return staff.role === 'read' ? readerView(main) : signInView(main);
  };
}

/** The name and the button of the masthead. */
export function showStaff() {
  const nav = document.getElementById('nav');
  document.getElementById('sign-out').addEventListener('click', async () => {
    try {
      await signOut();
      announce('You are signed out.');
      go(location.hash || '#/');
    } catch (error) {
      notify(inWords(error));
    }
  });
  changes.addEventListener('change', () => {
    nav.hidden = staff.role === null;
    document.getElementById('who').textContent = staff.who;
  });
}

/** The form; `done` is called when one is signed in. */
export function signInForm(id, done) {
  const made = form({
    id,
    title: 'Sign in',
    button: 'Sign in',
    fields: [
      { name: 'who', label: 'Your name', hint: 'The log has it beside what you change.', autocomplete: 'nickname', maxlength: 64 },
      { name: 'token', label: 'Editor token', type: 'password', hint: 'Kept nowhere in this browser.', autocomplete: 'off', maxlength: 512 },
    ],
    send: async ({ token, who }) => {
      await signIn(token, who);
      announce(`You are signed in as ${who}.`);
      done();
    },
  });
  const name = made.querySelector('[name=who]');
  name.value = kept()?.who ?? staff.who;
  made.querySelector(name.value ? '[name=token]' : '[name=who]').autofocus = true;
  return made;
}

async function signInView(main) {
  replace(
    main,
    h(
      'div',
      { class: 'welcome' },
      h(
        'header',
        { class: 'lead' },
        h('h1', { tabindex: '-1' }, 'Change it here. It is new everywhere.'),
        h('p', {}, 'Topics and stories as listeners read them. Each change tells you when every cache has dropped the old version.'),
        h('p', { class: 'hint' }, 'The editor token is that of ', h('code', {}, 'GREENROOM_EDITOR_TOKEN'), ', or the file ', h('code', {}, 'editor-token'), ' in the service’s data directory.'),
      ),
      signInForm('sign-in', () => go(location.hash || '#/')),
    ),
  );
  return 'Sign in';
}

async function readerView(main) {
  replace(
    main,
    h(
      'div',
      { class: 'panel' },
      h('h1', { tabindex: '-1' }, 'You may look, and change nothing'),
      h('p', {}, 'You are signed in with the control token. Editing needs the editor token.'),
      h('p', { class: 'actions' }, h('a', { class: 'button primary', href: '/control' }, 'To the control room')),
    ),
  );
  return 'Editor';
}

/** Resolves when one has signed in again; all calls that wait share one question. */
function signInAgain() {
  asking ??= askAgain().finally(() => { asking = null; });
  return asking;
}

function askAgain() {
  return new Promise((resolve, reject) => {
    let done = false;
    const close = () => dialog.close();
    const dialog = h(
      'dialog',
      { class: 'question', 'aria-labelledby': 'sign-in-again-title' },
      h('p', { class: 'hint' }, 'Your session has ended. What you have typed is still here, and the page goes on when you have signed in.'),
      signInForm('sign-in-again', () => { done = true; close(); }),
      h('p', { class: 'actions' }, h('button', { type: 'button', on: { click: close } }, 'Not now')),
    );
    dialog.addEventListener('close', () => {
      dialog.remove();
      if (done) resolve();
      else reject(new Problem(401, { detail: 'You are not signed in any more. What you have typed is still here.' }, new Headers()));
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

function take(found) {
  Object.assign(staff, { role: null, who: '', until: null }, found);
  if (!found) keep(null);
  changes.dispatchEvent(new Event('change'));
}

function kept() {
  try {
    return JSON.parse(localStorage.getItem(KEPT) || 'null');
  } catch {
    return null;
  }
}

function keep(who) {
  try {
    if (who === null) localStorage.removeItem(KEPT);
    else localStorage.setItem(KEPT, JSON.stringify({ who }));
  } catch {
    // Without storage one signs in at each visit.
  }
}
