/** A whole recording: where it is, and when there is one. */

import { isTerminal } from './status.js';

/** The address of a whole recording. */
export function recording(podcastId) {
  return `/api/v1/podcasts/${encodeURIComponent(podcastId)}/audio.webm`;
}

/** Whether a status lets one download the recording. */
export function isWhole(status) {
  return Boolean(status) && isTerminal(status.status) && status.status !== 'error';
}
