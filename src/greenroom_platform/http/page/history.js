/** What one has listened to: kept with the account of who is signed in, and in the browser of who is not. */

import { ask, hasNext } from './api.js';
import { player } from './player.js';
import { changes, session } from './session.js';

const KEPT = 'greenroom.history';
/** Podcasts that a browser keeps; so many can be asked for at once. */
const MOST = 50;
const EVERY = 15_000;
/** This close to its end it was heard. */
const END = 5;

let handing = Promise.resolve();
let noted = { id: '', at: 0, playing: false };

/** Note from now on what the player plays, and how far. */
export function watchHistory() {
  player.addEventListener('change', () => {
    const id = player.podcast?.podcastId;
    const playing = player.phase === 'playing';
    if (!id || !(player.on || noted.id === id)) return;
    // What is asked for belongs to the history at once; its place only where it has been played.
    if (noted.id === id && noted.playing === playing) return;
    note(id, player.phase === 'waiting' ? null : player.time);
    noted = { id, at: Date.now(), playing };
  });
  player.addEventListener('time', () => {
    if (player.phase !== 'playing' || player.podcast?.podcastId !== noted.id || Date.now() - noted.at < EVERY) return;
    noted.at = Date.now();
    note(noted.id, player.time);
  });
  const leave = () => {
    if (noted.id && player.podcast?.podcastId === noted.id && player.phase !== 'waiting') note(noted.id, player.time, { last: true });
    noted = { id: '', at: 0, playing: false };
  };
  player.addEventListener('leaving', leave);
  window.addEventListener('pagehide', leave);
  changes.addEventListener('change', () => { if (session.userId !== null) handing = handing.then(handOver); });
}

/** A page of the history: {entries, more}; each entry as the API has it. */
export async function readHistory(page, signal) {
  if (session.userId !== null) {
    await handing;
    const { data, headers } = await ask(`/history?page=${page}`, { signal, quiet: true });
    return { entries: data, more: hasNext(headers) };
  }
  const mine = kept();
  if (!mine.length) return { entries: [], more: false };
  const { data } = await ask(`/podcasts?ids=${mine.map((one) => encodeURIComponent(one.podcast_id)).join()}`, { signal, quiet: true });
  const known = new Map(data.map((one) => [one.podcast_id, one]));
  return { entries: mine.filter((one) => known.has(one.podcast_id)).map((one) => ({ ...known.get(one.podcast_id), ...one })), more: false };
}

/** Take a podcast out of it. */
export async function forget(podcastId) {
  if (session.userId !== null) await ask(`/history/${encodeURIComponent(podcastId)}`, { method: 'DELETE' });
  keep(kept().filter((one) => one.podcast_id !== podcastId));
}

/** Whether an entry was heard to its end. */
export function wasHeard({ position_seconds: at, duration_seconds: duration }) {
  return duration > 0 && at >= duration - END;
}

/** Where to go on in an entry. */
export function placeOf(entry) {
  return wasHeard(entry) ? 0 : entry.position_seconds || 0;
}

// A note that is lost is made good by the next: nobody is bothered with it.
function note(podcastId, seconds, { last = false } = {}) {
  const position = seconds === null ? {} : { position_seconds: Math.round(seconds * 10) / 10 };
  if (session.userId !== null) {
    ask(`/history/${encodeURIComponent(podcastId)}`, { method: 'PUT', body: position, quiet: true, keepalive: last }).catch(() => {});
    return;
  }
  const before = kept();
  const known = before.find((one) => one.podcast_id === podcastId);
  const entry = { ...known, podcast_id: podcastId, ...position, listened_at: new Date().toISOString() };
  keep([entry, ...before.filter((one) => one !== known)].slice(0, MOST));
}

// Two tabs may do so at once: the same podcasts are added once.
async function handOver() {
  const items = kept();
  if (!items.length) return;
  keep([]);
  try {
    await ask('/history', { method: 'POST', body: { items } });
  } catch (error) {
    // Who is signed in sees it with the next try; what cannot be taken is not sent for ever.
    if (error.name === 'Unreachable' || error.status >= 500 || error.status === 401) keep([...kept(), ...items].slice(0, MOST));
  }
}

function kept() {
  try {
    const found = JSON.parse(localStorage.getItem(KEPT) || '[]');
    return Array.isArray(found) ? found.filter((one) => typeof one?.podcast_id === 'string') : [];
  } catch {
    return [];
  }
}

function keep(entries) {
  try {
    if (entries.length) localStorage.setItem(KEPT, JSON.stringify(entries));
    else localStorage.removeItem(KEPT);
  } catch {
    // Without storage there is a history with an account only.
  }
}
