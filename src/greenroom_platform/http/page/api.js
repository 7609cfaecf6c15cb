/** Asks the API: JSON in and out, errors as problem documents, and where each answer came from. */

const PREFIX = '/api/v1';
const DEADLINE = 15_000;

/** `answer` (detail: path, source, milliseconds), `reached` and `unreachable`, each of any request. */
export const traffic = new EventTarget();

/** An answer that is an error: RFC 9457. */
export class Problem extends Error {
  constructor(status, document, headers) {
    super(document.detail || document.title || `The service answered ${status}`);
    this.name = 'Problem';
    this.status = status;
    this.title = document.title || '';
    this.detail = document.detail || '';
    this.errors = document.errors || [];
    this.requestId = document.request_id || headers.get('x-request-id') || '';
    this.retryAfter = Number(headers.get('retry-after')) || 0;
    this.challenge = headers.get('www-authenticate') || '';
  }
}

/** No answer at all. */
export class Unreachable extends Error {
  constructor(cause) {
    super('no answer', { cause });
    this.name = 'Unreachable';
  }
}

const changing = new Set();

/** Resolves when no request is under way that may give the browser another cookie. */
export async function settled() {
  while (changing.size > 0) await Promise.allSettled([...changing]);
}

/**
 * Ask, and return {data, status, headers}.
 *
 * @param path below /api/v1
 * @param options.body sent as JSON
 * @param options.wait seconds that the server may take by agreement, as a long poll does
 * @param options.keepalive send it although the page is being left
 * @param options.quiet keep it out of the line at the foot: its time is not the cache's
 * @throws Problem, Unreachable, or what `options.signal` was aborted with
 */
export function ask(path, options = {}) {
  const answer = asked(path, options);
  if ((options.method ?? 'GET') !== 'GET') {
    changing.add(answer);
    const over = () => changing.delete(answer);
    answer.then(over, over);
  }
  return answer;
}

async function asked(path, { method = 'GET', body, headers = {}, signal, wait = 0, quiet = false, keepalive = false } = {}) {
  const began = performance.now();
  let response;
  let data;
  const deadline = deadlined(signal, DEADLINE + wait * 1000);
  try {
    response = await fetch(PREFIX + path, {
      method,
      keepalive,
      signal: deadline.signal,
      headers: body === undefined ? headers : { 'Content-Type': 'application/json', ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    data = parsed(await response.text());
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    traffic.dispatchEvent(new Event('unreachable'));
    throw new Unreachable(error);
  } finally {
    deadline.clear();
  }
  traffic.dispatchEvent(new Event('reached'));
  const source = sourceOf(response.headers.get('cache-status'));
  if (source && !quiet) {
    const detail = { path: PREFIX + path, source, milliseconds: performance.now() - began };
    traffic.dispatchEvent(new CustomEvent('answer', { detail }));
  }
  if (!response.ok && response.status !== 304) throw new Problem(response.status, data ?? {}, response.headers);
  return { data, status: response.status, headers: response.headers };
}

/** Whether the `Link` header names a next page (RFC 8288). */
export function hasNext(headers) {
  return /;\s*rel="?next"?/.test(headers.get('link') || '');
}

/**
 * Where an answer came from, by its Cache-Status (RFC 9211): {place: 'near' | 'valkey' | 'record', how}; null for an
 * answer that no cache of ours had part in. Other caches on the way may have added themselves to the list.
 */
export function sourceOf(header) {
  const ours = (header || '').split(',').map((member) => member.trim()).find((member) => /^greenroom(;|$)/.test(member));
  if (!ours) return null;
  const parameters = new Map(ours.split(';').slice(1).map((one) => one.trim().split('=')));
  const detail = parameters.get('detail');
  if (parameters.has('hit')) {
    if (detail === 'near') return { place: 'near', how: 'memory of the process that answered' };
    if (detail === 'stale') return { place: 'valkey', how: 'a little old, and being refreshed behind it' };
    return { place: 'valkey', how: 'the shared cache' };
  }
  if (parameters.get('fwd') === 'bypass') return { place: 'record', how: 'while Valkey cannot be reached' };
  if (parameters.has('collapsed')) return { place: 'record', how: 'one look-up, shared with others who asked' };
  if (parameters.has('stored')) return { place: 'record', how: 'and now kept in Valkey' };
  return { place: 'record', how: 'the database' };
}

function parsed(text) {
  if (!text) return null;
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function deadlined(signal, time) {
  const controller = new AbortController();
  const abort = () => controller.abort(signal.reason);
  const timer = setTimeout(() => controller.abort(new DOMException('no answer in time', 'TimeoutError')), time);
  if (signal?.aborted) abort();
  signal?.addEventListener('abort', abort, { once: true });
  return {
    signal: controller.signal,
    clear() {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    },
  };
}
