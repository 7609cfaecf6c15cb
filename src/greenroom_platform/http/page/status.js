/** How far a podcast is, live: server-sent events, and long polls where those do not come through. */

import { ask } from './api.js';
import { back } from './reach.js';

const SILENCE = 8_000;
const LONG_POLL = 25;
const MOST = 15_000;

/** The statuses in their order, with their names as stations on the way, and what is done at each. */
export const STEPS = [
  ['queued', 'In the queue', 'Waiting for a studio'],
  ['script_generating', 'Script', 'Writing the script'],
  ['audio_rendering', 'Recording', 'Waiting for the first words'],
  ['ready_to_stream', 'Ready', 'Ready'],
];

export function rank(status) {
  return STEPS.findIndex(([name]) => name === status);
}

export function isTerminal(status) {
  return status === 'ready_to_stream' || status === 'error';
}

/**
 * Call `told` with each status until a terminal one; resolves with the last.
 *
 * @throws Problem when there is no such podcast; what `signal` was aborted with
 */
export async function follow(podcastId, told, signal) {
  const path = `/podcasts/${encodeURIComponent(podcastId)}`;
  let last = null;
  const tell = (status) => {
    // Two ways of asking may answer out of order: a status never goes back.
    if (last && !isTerminal(status.status) && rank(status.status) < rank(last.status)) return;
    last = status;
    told(status);
  };
  for (let wait = 500; ; wait = Math.min(MOST, wait * 2)) {
    if ('EventSource' in window) await events(path, tell, signal);
    if (!last || !isTerminal(last.status)) await polls(path, tell, signal);
    signal.throwIfAborted();
    if (last && isTerminal(last.status)) return last;
    await back(wait, signal);
    signal.throwIfAborted();
  }
}

// Resolves at a terminal status, or when this way leads nowhere. The browser itself reconnects a stream that broke off;
// one that stays silent is held back by something between us.
function events(path, told, signal) {
  return new Promise((resolve) => {
    const source = new EventSource(`/api/v1${path}/events`);
    const silent = setTimeout(leave, SILENCE);
    function leave() {
      clearTimeout(silent);
      source.close();
      signal.removeEventListener('abort', leave);
      resolve();
    }
    signal.addEventListener('abort', leave);
    if (signal.aborted) leave();
    source.addEventListener('status', (event) => {
      clearTimeout(silent);
      const status = JSON.parse(event.data);
      told(status);
      // The server ends the stream here, which a browser takes for a failure and begins anew.
      if (isTerminal(status.status)) leave();
    });
    source.addEventListener('error', () => { if (source.readyState === EventSource.CLOSED) leave(); });
  });
}

async function polls(path, told, signal) {
  let tag = null;
  try {
    for (;;) {
      const headers = tag ? { 'If-None-Match': tag } : {};
      // Past the browser's cache: it would answer a 304 with what it has, and the time is the wait's.
      const wait = tag ? LONG_POLL : 0;
      const { data, status, headers: found } = await ask(`${path}/status?wait=${wait}`, { headers, signal, wait, quiet: wait > 0 });
      tag = found.get('etag');
      if (status === 304 || !data) continue;
      told(data);
      if (isTerminal(data.status)) return;
      if (!tag) return;
    }
  } catch (error) {
    if (signal.aborted || error.status === 404 || error.status === 422) throw error;
  }
}
