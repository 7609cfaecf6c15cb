/** What is asked of the API to save a topic or a story, and on which condition. */

import { Problem } from '/page/api.js';
import { ASKS } from './receipts.js';
import { call } from './staff.js';

const PLACES = { near: 'the near cache', valkey: 'Valkey', record: 'the record' };

/** Make something new of its values; 412 where a topic's id is taken. */
export function create(kind, values) {
  const body = kind.body(values);
  if (kind.name !== 'topic') return call('/snippets', { method: 'POST', headers: ASKS, body });
  return call(kind.path(values.topic_id.trim()), { method: 'PUT', headers: { ...ASKS, 'If-None-Match': '*' }, body });
}

/** Replace what has the tag; 412 where that is another by now. */
export function change(kind, id, values, tag) {
  return call(kind.path(id), { method: 'PUT', headers: { ...ASKS, 'If-Match': tag }, body: kind.body(values) });
}

/** What every listener reads next, {data, tag, milliseconds, place}: through the caches. Null where it cannot be read. */
export async function readAgain(kind, id) {
  const began = performance.now();
  try {
    const { data, headers } = await call(kind.path(id));
    return { data, tag: headers.get('etag'), milliseconds: performance.now() - began, place: PLACES[placeOf(headers)] ?? 'the service' };
  } catch {
    return null;
  }
}

/** The tag of what is stored, after a save that could not be read again; 412 where it is not `base` any more. */
export async function currentTag(kind, id, base) {
  const { data, headers } = await call(kind.path(id));
  if (!isSame(kind, kind.values(data), base)) throw new Problem(412, {}, headers);
  return headers.get('etag');
}

/**
 * What an earlier try has made whose answer was lost; null where there is none.
 *
 * Prevents: a story is made · its answer is lost · "Create" is pressed once more · there are two.
 */
export async function madeBefore(kind, lost, values) {
  if (!lost || (kind.name === 'topic' && lost.topic_id !== values.topic_id)) return null;
  const path = kind.name === 'topic' ? kind.path(lost.topic_id.trim()) : `/snippets?topic_id=${encodeURIComponent(lost.topic_id)}`;
  try {
    const { data } = await call(path);
    return [data].flat().find((one) => isSame(kind, kind.values(one), lost)) ?? null;
  } catch (error) {
    if (error.status !== 404) throw error;
    return null;
  }
}

export function isSame(kind, one, other) {
  return JSON.stringify(kind.body(one)) === JSON.stringify(kind.body(other));
}

function placeOf(headers) {
  const status = headers.get('cache-status') || '';
  if (!status) return null;
  if (!/;\s*hit/.test(status)) return 'record';
  return /detail=near/.test(status) ? 'near' : 'valkey';
}
