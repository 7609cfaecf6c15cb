/** The question before a topic or a story is deleted, and what may speak against it. */

import { h } from '/page/dom.js';
import { go } from '/page/router.js';
import { question } from './question.js';
import { ASKS, receiptOf } from './receipts.js';
import { call } from './staff.js';

/**
 * Ask, and delete it.
 *
 * @param name what it is called
 * @param tag called for the tag of what is deleted
 * @returns {receipt}; null where it was not deleted
 */
export async function deletion(kind, id, name, tag) {
  const isTopic = kind.name === 'topic';
  let receipt = null;
  const done = await question({
    title: `Delete the ${kind.name} “${name}”?`,
    text: isTopic ? 'Listeners do not find it any more from then on. It cannot be undone.' : 'Listeners do not read it any more from then on, and no podcast is made of it. It cannot be undone.',
    yes: `Delete ${kind.name}`,
    act: async () => {
      const condition = { 'If-Match': await tag() };
      receipt = receiptOf((await call(kind.path(id), { method: 'DELETE', headers: { ...ASKS, ...condition } })).headers);
    },
    refused: (error, close) => refused(error, id, close),
  });
  return done ? { receipt } : null;
}

function refused(error, id, close) {
  if (error.status === 409) {
    return [h('p', {}, 'This topic still has stories. Delete them first, or move them to another topic.'), h('p', {}, h('a', { href: `#/topics/${encodeURIComponent(id)}` }, 'Show its stories'))];
  }
  if (error.status === 412) return [h('p', {}, 'Somebody else has changed it since you opened it. Look at it again before you delete it.'), h('p', {}, h('button', { type: 'button', on: { click: () => { close(); go(location.hash); } } }, 'Show it as it is now'))];
  return null;
}
