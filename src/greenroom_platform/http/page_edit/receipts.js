/** What became of an edit: dropped from which caches, and when. The point of Greenroom, made visible. */

import { h, icon, replace } from '/page/dom.js';
import { go } from '/page/router.js';
import { count, milliseconds } from '/page/words.js';
import { call } from './staff.js';

/** What to send along to be given a receipt. */
export const ASKS = { Prefer: 'drop-receipt' };

const LOOK = 1_500;
/** For so long it stays in view while one scrolls; afterwards at its place. */
const IN_VIEW = 12_000;

let turn = 0;
let timer = 0;
/** Whether the page goes on to another view with what it tells. */
let moves = false;

// What has been told of one thing is not of the next; what waits in the outbox is told until it does not.
window.addEventListener('hashchange', () => {
  if (!moves && place().dataset.state !== 'waiting') clearReceipt();
  moves = false;
});

/** The receipt in an answer; null where the service gave none. */
export function receiptOf(headers) {
  try {
    return JSON.parse(headers.get('drop-receipt') || 'null');
  } catch {
    return null;
  }
}

/**
 * Show what became of an edit, until the next one, or until one goes elsewhere.
 *
 * @param done "Saved", "Created" or "Deleted"
 * @param again what a read after the edit came to: {milliseconds, place}; null where nothing was read
 */
export function showReceipt(done, receipt, again = null) {
  turn += 1;
  if (!receipt) put(h('p', {}, h('strong', {}, `${done}.`)), null);
  else if (receipt.dropped_at) put(dropped(done, receipt, again), receipt);
  else watch(done, receipt, turn);
}

/** Go to another view, which shows what became of the edit. */
export function goWithReceipt(address) {
  moves = location.hash !== address;
  go(address);
}

/** What a load has done, as `showReceipt`. */
export function showLoaded(text, pending) {
  turn += 1;
  put(h('p', {}, h('strong', {}, 'Loaded. '), text, ' ', pending
    ? 'It waits in the outbox: Valkey cannot be reached. Any server sends it as soon as it can.'
    : 'What it changed is dropped from Valkey. Other servers’ near caches: 0.75 s later at most.'), null);
}

export function clearReceipt() {
  turn += 1;
  place().dataset.state = '';
  replace(place());
}

function dropped(done, receipt, again) {
  const near = Math.round(receipt.near_within_seconds * 1000);
  return [
    h('p', {}, h('strong', {}, `${done}. `), `Dropped from Valkey at `, time(receipt.dropped_at), `, ${milliseconds(receipt.milliseconds)} ms after the commit: ${things(receipt)}.`,
      ` Other servers’ near caches: ${near / 1000} s later at most.`,
      again && ` Read again ${milliseconds(again.milliseconds)} ms later, from ${again.place}: it is the new version.`),
    h(
      'ol',
      { class: 'way', 'aria-hidden': 'true' },
      stop('committed', at(receipt.committed_at)),
      stop('dropped from Valkey', `+ ${milliseconds(receipt.milliseconds)} ms`),
      stop('new in every near cache', `≤ ${near} ms later`),
    ),
  ];
}

function stop(name, when) {
  return h('li', {}, h('span', {}, name), h('span', { class: 'moment' }, when));
}

async function watch(done, receipt, mine) {
  const waits = (text) => put([
    h('p', {}, h('strong', {}, `${done}, and waiting in the outbox. `), text),
  ], receipt, true);
  waits(`Committed at ${at(receipt.committed_at)}. Valkey has not acknowledged yet that it has dropped ${things(receipt)}. The process that has saved it shows the new version already, others do after about 2 s; Valkey has the old one until it can be reached.`);
  while (mine === turn) {
    await new Promise((resolve) => { setTimeout(resolve, LOOK); });
    if (mine !== turn) return;
    try {
      const { data } = await call(`/changes/${receipt.change_id}`);
      if (mine !== turn) return;
      if (!data.pending) {
        const waited = Math.round((Date.now() - Date.parse(receipt.committed_at)) / 1000);
        put(h('p', {}, h('strong', {}, `${done}. `), `Dropped from Valkey by ${at(Date.now())}, after ${count(waited, 'second')} in the outbox: ${things(receipt)}. Other servers’ near caches: ${receipt.near_within_seconds} s later at most.`), receipt);
        return;
      }
    } catch (error) {
      if (error.name !== 'Unreachable' && error.status < 500) return;
    }
  }
}

/** "the topic, the list of topics, 3 pages and every search" */
function things({ topics, lists, searches, snippets, pages }) {
  const named = [
    topics && (topics === 1 ? 'the topic' : count(topics, 'topic')),
    lists && 'the list of topics',
    snippets && (snippets === 1 ? 'the story' : `${snippets} stories`),
    pages && count(pages, 'page'),
    searches && 'every search',
  ].filter(Boolean);
  return named.length > 1 ? `${named.slice(0, -1).join(', ')} and ${named.at(-1)}` : named[0] ?? 'nothing that was cached';
}

function put(content, receipt, waiting = false) {
  const keys = receipt?.named.length ? h(
    'details',
    {},
    h('summary', {}, 'Keys'),
    h('ul', { class: 'keys-named' }, receipt.named.map((key) => h('li', {}, h('code', {}, key))),
      total(receipt) > receipt.named.length && h('li', {}, `and ${total(receipt) - receipt.named.length} more`)),
  ) : null;
  const close = h('button', { type: 'button', class: 'plain', 'aria-label': 'Dismiss', on: { click: clearReceipt } }, icon('close'));
  place().dataset.state = waiting ? 'waiting' : 'done';
  replace(place(), h('div', { class: 'told' }, content, keys), close);
  place().classList.add('in-view');
  clearTimeout(timer);
  if (!waiting) timer = setTimeout(() => place().classList.remove('in-view'), IN_VIEW);
  // On a wide screen it stays in view by itself; on a narrow one it would leave too little of it.
  if (getComputedStyle(place()).position !== 'sticky') place().scrollIntoView({ block: 'nearest' });
}

function total({ topics, lists, searches, snippets, pages }) {
  return topics + lists + searches + snippets + pages;
}

function time(moment) {
  return h('time', { datetime: moment }, at(moment));
}

/** 14:03:22.120 */
function at(moment) {
  const when = new Date(moment);
  const two = (number) => String(number).padStart(2, '0');
  return `${two(when.getHours())}:${two(when.getMinutes())}:${two(when.getSeconds())}.${String(when.getMilliseconds()).padStart(3, '0')}`;
}

function place() {
  return document.getElementById('receipt');
}
