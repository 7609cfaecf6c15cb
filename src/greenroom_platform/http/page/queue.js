/** The place of a podcast in the queue, while it waits there. */

import { ask } from './api.js';

/** Said of one that waits, while its place is not known. */
export const SOON = 'It begins as soon as a studio is free.';
const EVERY = 4_000;
const HOUR = new Intl.DateTimeFormat('en', { hour: 'numeric', minute: '2-digit' });

/**
 * Tell the place again and again, until `signal` is aborted or it waits no more.
 *
 * @param told called with what to say of it
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

function placed({ position, of, paused, estimated_start: start }) {
  const when = paused ? 'The queue is paused: nothing new begins until the operators resume it.' : SOON;
  const place = position === 1 ? 'It is the next one in the queue.' : `It is number ${position} of ${of} in the queue.`;
  const about = start && new Date(start) > Date.now() ? ` It begins at about ${HOUR.format(new Date(start))}.` : '';
  return `${when} ${place}${about}`;
}
