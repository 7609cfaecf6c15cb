/** The listener's session: who is signed in, and what they have chosen. Its id and token are never seen here. */

import { Problem, ask } from './api.js';
import { readSite } from './site.js';

const DEFAULTS = { preferred_topics: [], playback_speed_default: 1 };
const NAME = 'greenroom.name';
/** What is said when a session has ended elsewhere. */
export const OVER = 'Your session has ended. Sign in again to keep what you choose.';

/** `change` whenever the session did, in this tab or another; `over` when one that was signed in has ended elsewhere. */
export const changes = new EventTarget();

/** `userId` is null for a visitor; `exists` is whether there is a session at all. */
export const session = { exists: false, userId: null, preferences: { ...DEFAULTS } };

const tabs = 'BroadcastChannel' in window ? new BroadcastChannel('greenroom.session') : null;
let turn = Promise.resolve();
let looked = 0;
let first = null;
let asked = 0;
let told = 0;

export function watchSession() {
  tabs?.addEventListener('message', () => load().catch(() => {}));
  document.addEventListener('visibilitychange', () => {
    // It may have ended while nobody looked; a busy tab learns that from its answers.
    if (!document.hidden && Date.now() - looked > 60_000) check().catch(() => {});
  });
}

/** Resolves when it has been asked who one is, whatever the answer. */
export function known() {
  first ??= check().catch(() => {});
  return first;
}

/** Ask who one is, if there is a session to ask for: a first visit is not refused anything. */
export async function check() {
  looked = Date.now();
  if ((await readSite()).session || session.exists) await load();
  else changes.dispatchEvent(new Event('change'));
}

/** Ask who one is. */
export async function load() {
  looked = Date.now();
  asked += 1;
  const mine = asked;
  // Whether something newer has told it meanwhile. Prevents: one signs in, and the stream's old session ends · it is
  // asked who one is, with the old cookie · one is signed in · the answer comes, and says that one is not.
  const overtaken = () => mine <= told;
  try {
    const { data } = await ask('/session');
    if (overtaken()) return;
    told = mine;
    show(data);
  } catch (error) {
    if (error.status !== 401) throw error;
    if (overtaken()) return;
    const over = error.challenge.includes('invalid_token');
    const signedIn = session.userId !== null;
    if (over) await forget();
    take(null);
    if (over && signedIn) changes.dispatchEvent(new Event('over'));
  }
}

/** The name that was used to sign in; the session itself knows an id only. */
export function username() {
  try {
    const kept = JSON.parse(localStorage.getItem(NAME) || 'null');
    return kept && kept.userId === session.userId ? kept.username : '';
  } catch {
    return '';
  }
}

export function prefers(topicId) {
  return session.preferences.preferred_topics.includes(topicId);
}

/** Prefer a topic, or no longer. */
export function prefer(topicId, wanted) {
  return change(({ preferred_topics: topics }) => {
    const others = topics.filter((one) => one !== topicId);
    return { preferred_topics: wanted ? [...others, topicId] : others };
  });
}

export function setSpeed(speed) {
  return change(() => ({ playback_speed_default: speed }));
}

export function signUp(username, password) {
  return ask('/users', { method: 'POST', body: { username, password } });
}

export async function signIn(username, password) {
  const { data } = await ask('/session/login', { method: 'POST', body: { username, password } });
  try {
    localStorage.setItem(NAME, JSON.stringify({ userId: data.user_id, username: username.toLowerCase() }));
  } catch {
    // Without storage the page says "signed in", and no name.
  }
  take(data);
  tell();
}

export async function changePassword(current_password, new_password) {
  take((await ask('/session/password', { method: 'PUT', body: { current_password, new_password } })).data);
}

export async function signOut() {
  await gone(() => ask('/session', { method: 'DELETE' }));
}

export async function endAll() {
  await gone(() => ask('/session/logout-everywhere', { method: 'POST' }));
}

/** One's sessions, this browser's first. */
export async function own(signal) {
  const { data } = await ask('/sessions', { signal });
  return data.sort((one, other) => other.current - one.current || other.started_at.localeCompare(one.started_at));
}

export async function end({ handle, current }) {
  const path = `/sessions/${encodeURIComponent(handle)}`;
  if (current) await gone(() => ask(path, { method: 'DELETE' }));
  else await ask(path, { method: 'DELETE' });
}

// Changes go one after another, each made of what the session holds by then: of two that were sent together, the one
// that arrives last would take back what the other has set, since a list is replaced as a whole.
function change(wanted) {
  const mine = turn.then(async () => {
    if (session.exists) {
      const { userId } = session;
      await load();
      // What somebody chose for their account does not go to a visit without one.
      if (userId !== null && session.userId === null) throw new Problem(401, { detail: OVER }, new Headers());
    }
    const before = session.preferences;
    const began = !session.exists;
    const patch = wanted(before);
    choose({ ...before, ...patch });
    try {
      take((await patched(patch)).data);
    } catch (error) {
      choose(before);
      throw error;
    }
    tell();
    // A new session lives for two minutes only, until its cookie has come back once.
    if (began) load().catch(() => {});
  });
  turn = mine.catch(() => {});
  return mine;
}

async function patched(patch) {
  const send = (body) => ask('/session/preferences', { method: 'PATCH', body });
  try {
    return await send(patch);
  } catch (error) {
    if (error.status !== 401) throw error;
    const signedIn = session.userId !== null;
    await forget();
    if (signedIn) {
      take(null);
      throw new Problem(401, { detail: OVER }, new Headers());
    }
    return send(patch);
  }
}

/** Give up the cookie of a session that is over: no new one begins while it is sent along. */
async function forget() {
  try {
    await ask('/session', { method: 'DELETE' });
  } catch (error) {
    if (error.status !== 401) throw error;
  }
}

async function gone(ending) {
  try {
    await ending();
  } catch (error) {
    if (error.status !== 401) throw error;
    await forget();
  }
  left();
}

/** There is no session any more. */
export function left() {
  try {
    localStorage.removeItem(NAME);
  } catch {
    // There was none.
  }
  take(null);
  tell();
}

function choose(preferences) {
  session.preferences = preferences;
  changes.dispatchEvent(new Event('change'));
}

/** What an answer to a change tells is newer than any answer to a question that was asked before it came. */
function take(found) {
  told = asked;
  show(found);
}

function show(found) {
  session.exists = found !== null;
  session.userId = found?.user_id ?? null;
  session.preferences = { ...DEFAULTS, ...found?.preferences };
  changes.dispatchEvent(new Event('change'));
}

function tell() {
  tabs?.postMessage('changed');
}
