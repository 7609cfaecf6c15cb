/** Whether the service can be reached: a banner while it cannot, a probe until it can, then `back`. */

import { announce, h, replace } from './dom.js';
import { traffic } from './api.js';

const FIRST = 1_000;
const LONGEST = 15_000;
const PATIENCE = 5_000;

/** `back` when the service answers again. */
export const reach = new EventTarget();

let away = false;
let timer = 0;
let wait = FIRST;
let probing = false;

export function watchReach() {
  traffic.addEventListener('unreachable', lost);
  traffic.addEventListener('reached', () => { if (away && !probing) probe(); });
  // Either may be wrong: a service on this machine answers without a network, and a network is not yet the service.
  window.addEventListener('offline', probe);
  window.addEventListener('online', probe);
}

/** Resolves when the service answers again, or after `most` milliseconds. */
export function back(most, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timeout);
      reach.removeEventListener('back', done);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timeout = setTimeout(done, most);
    reach.addEventListener('back', done);
    signal?.addEventListener('abort', done);
  });
}

function lost() {
  if (away) return;
  away = true;
  wait = FIRST;
  show();
  plan();
}

function found() {
  if (!away) return;
  away = false;
  clearTimeout(timer);
  const banner = document.getElementById('banner');
  const focused = banner.contains(document.activeElement);
  banner.hidden = true;
  replace(banner);
  if (focused) document.getElementById('main').focus({ preventScroll: true });
  announce('Greenroom answers again.');
  reach.dispatchEvent(new Event('back'));
}

function plan() {
  clearTimeout(timer);
  // All pages that lost one server must not come back in the same moment.
  timer = setTimeout(probe, wait * (0.75 + Math.random() / 2));
  wait = Math.min(LONGEST, wait * 2);
}

async function probe() {
  if (probing) return;
  probing = true;
  clearTimeout(timer);
  const controller = new AbortController();
  const patience = setTimeout(() => controller.abort(), PATIENCE);
  let answers = false;
  try {
    answers = (await fetch('/health/ready', { cache: 'no-store', signal: controller.signal })).ok;
  } catch {
    // Not there.
  }
  clearTimeout(patience);
  probing = false;
  if (answers) {
    found();
  } else if (away) {
    plan();
  } else {
    lost();
  }
}

function show() {
  const banner = document.getElementById('banner');
  const text = navigator.onLine
    ? 'Greenroom cannot be reached. What you see may be old; this page keeps trying.'
    : 'You are offline. What you see may be old.';
  replace(banner, h('p', {}, text), h('button', { type: 'button', on: { click: () => { wait = FIRST; probe(); } } }, 'Try now'));
  banner.hidden = false;
}
