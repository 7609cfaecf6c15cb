/** What the service tells of itself: pushed every two seconds, and asked for where that does not come through. */

import { ask } from '/page/api.js';

const SILENT = 8_000;
const RETRY = 4_000;
const CHARTS = 10_000;
const FIRST_CHART = 6_000;

/** `summary`, `history`, `quiet` (no news for a while) and `out` (the session is over). */
export const live = new EventTarget();

export const now = { summary: null, history: null, staff: null, at: 0 };

let source = null;
let timers = [];

export function begin(staff) {
  now.staff = staff;
  now.at = Date.now();
  follow();
  charts();
  timers.push(setInterval(charts, CHARTS), setTimeout(charts, FIRST_CHART));
  timers.push(setInterval(() => { if (Date.now() - now.at > SILENT) live.dispatchEvent(new Event('quiet')); }, 1000));
}

export function end() {
  source?.close();
  source = null;
  for (const timer of timers) clearInterval(timer);
  timers = [];
  Object.assign(now, { summary: null, history: null, staff: null, at: 0 });
}

export function mayAct() {
  return now.staff?.role === 'act';
}

/** Do something: {data} of the action, with its outcome; the page is told anew at once. */
export async function act(path, body) {
  try {
    const { data } = await ask(`/control${path}`, { method: 'POST', body });
    await refresh();
    return data;
  } catch (error) {
    if (error.status === 401) live.dispatchEvent(new Event('out'));
    throw error;
  }
}

export async function refresh() {
  try {
    told((await ask('/control/summary', { quiet: true })).data);
  } catch (error) {
    if (error.status === 401) live.dispatchEvent(new Event('out'));
  }
}

function follow() {
  source = new EventSource('/api/v1/control/events');
  source.addEventListener('summary', (event) => told(JSON.parse(event.data)));
  source.addEventListener('error', () => {
    // The browser comes back by itself, but where it was refused.
    if (source?.readyState !== EventSource.CLOSED) return;
    source = null;
    const again = setTimeout(async () => {
      await refresh();
      if (now.staff && !source) follow();
    }, RETRY);
    timers.push(again);
  });
}

function told(summary) {
  if (!now.staff) return;
  now.summary = summary;
  now.at = Date.now();
  live.dispatchEvent(new Event('summary'));
}

async function charts() {
  try {
    const { data } = await ask('/control/history', { quiet: true });
    if (!now.staff) return;
    now.history = data;
    live.dispatchEvent(new Event('history'));
  } catch (error) {
    if (error.status === 401) live.dispatchEvent(new Event('out'));
  }
}
