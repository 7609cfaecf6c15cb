/** The place of a podcast in the queue, while it waits there. */

import { ask } from './api.js';

const EVERY = 4_000;
const HOUR = new Intl.DateTimeFormat('en', { hour: 'numeric', minute: '2-digit' });

/**
 * Tell the place again and again, until `signal` is aborted or it waits no more.
 *
 * @param told called with a sentence
 */
export async function watchQueue(podcastId, told, signal) {
  while (!signal.aborted) {
    try {
      const { data } = await ask(`/podcasts/${encodeURIComponent(podcastId)}/queue`, { signal, quiet: true });
      if (signal.aborted || data.position === 0) return;
      told(placed(data));
    } catch {
      // The place is a comfort: its status tells all that matters.
    }
    await new Promise((resolve) => { setTimeout(resolve, EVERY); });
  }
}

function placed({ position, of, estimated_start: start }) {
  const place = position === 1 ? 'It is the next one in the queue.' : `It is number ${position} of ${of} in the queue.`;
  return start && new Date(start) > Date.now() ? `${place} It begins at about ${HOUR.format(new Date(start))}.` : place;
}
